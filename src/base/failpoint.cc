#include "base/failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "base/log.h"

namespace limpet::failpoint {

namespace {

struct Point {
  std::string action;
  uint64_t nth = 0;  // 0: every hit
  uint64_t hits = 0;
  bool told = false;
};

constexpr useconds_t kLookAgainUs = 1000;

// Test-only state, reached from loop and storage thread alike: the one lock outside of the mailbox.
pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
bool g_loaded = false;
bool g_from_environment = false;  // of a daemon: its log says what was reached

std::map<std::string, Point>& points() {
  static auto* map = new std::map<std::string, Point>;
  return *map;
}

void load(std::string_view spec) {
  for (auto& [name, point] : points()) point.action.clear();
  while (!spec.empty()) {
    const size_t comma = spec.find(',');
    std::string_view one = spec.substr(0, comma);
    spec.remove_prefix(comma == std::string_view::npos ? spec.size() : comma + 1);
    const size_t eq = one.find('=');
    if (eq == std::string_view::npos) continue;
    Point& p = points()[std::string(one.substr(0, eq))];
    one.remove_prefix(eq + 1);
    const size_t at = one.find('@');
    p.action = one.substr(0, at);
    p.nth = at == std::string_view::npos ? 0 : strtoull(std::string(one.substr(at + 1)).c_str(), nullptr, 10);
    p.hits = 0;
  }
}

// Until it is not armed so any more.
void pause(const std::string& name) {
  for (bool armed = true; armed;) {
    usleep(kLookAgainUs);
    pthread_mutex_lock(&g_lock);
    armed = points()[name].action == "pause";
    pthread_mutex_unlock(&g_lock);
  }
}

}  // namespace

bool hit(std::string_view name) noexcept {
  pthread_mutex_lock(&g_lock);
  if (!g_loaded) {
    g_loaded = true;
    if (const char* env = getenv("LIMPET_FAILPOINTS")) load(env);
    g_from_environment = true;
  }
  Point& p = points()[std::string(name)];
  p.hits++;
  const std::string action = p.nth == 0 || p.hits == p.nth ? p.action : "";
  const bool first = g_from_environment && !action.empty() && !std::exchange(p.told, true);
  pthread_mutex_unlock(&g_lock);
  if (first) log::warning("failpoint", {{"name", name}, {"action", action}});
  if (action == "error") return true;
  if (action == "kill") kill(getpid(), SIGKILL);
  if (action == "pause") pause(std::string(name));
  if (action.starts_with("sleep:"))
    usleep(static_cast<useconds_t>(strtoul(action.c_str() + 6, nullptr, 10) * 1000));
  return false;
}

void arm(std::string_view spec) {
  pthread_mutex_lock(&g_lock);
  g_loaded = true;
  g_from_environment = false;
  load(spec);
  pthread_mutex_unlock(&g_lock);
}

std::map<std::string, uint64_t> hits() {
  std::map<std::string, uint64_t> out;
  pthread_mutex_lock(&g_lock);
  for (const auto& [name, point] : points()) out[name] = point.hits;
  pthread_mutex_unlock(&g_lock);
  return out;
}

}  // namespace limpet::failpoint
