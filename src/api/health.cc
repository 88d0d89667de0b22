#include "api/health.h"

#include "base/json.h"

namespace limpet::api {
namespace {

using Checks = std::vector<std::pair<std::string, bool>>;

Checks checks(Core& core, bool readiness) {
  Checks list{{"ping", true}};
  if (!readiness) return list;
  list.emplace_back("store", true);
  list.emplace_back("namespaces", core.ready);
  list.emplace_back("shutdown", !core.stopping);
  if (core.options.ready_checks) {
    for (auto& c : core.options.ready_checks()) list.push_back(std::move(c));
  }
  return list;
}

void answer(const CallPtr& call, std::string_view what, std::string_view one) {
  bool good = true, found = one.empty();
  std::string lines;
  for (const auto& [name, ok] : checks(call->core, what != "livez")) {
    if (!one.empty() && name != one) continue;
    found = true;
    good = good && ok;
    lines += (ok ? "[+]" : "[-]") + name + (ok ? " ok\n" : " failed: not yet\n");
  }
  if (!found) return call->fail(status::no_such_path());
  bool verbose = truthy(call->query(), "verbose") && one.empty();
  std::string text = "ok";
  if (!good) {
    text = lines + std::string(what) + " check failed\n";
  } else if (verbose) {
    text = lines + std::string(what) + " check passed\n";
  }
  call->respond(good ? 200 : 500, std::move(text), "text/plain; charset=utf-8");
}

std::string version_document(const Options& o) {
  json::Writer w;
  w.begin_object().field("major", "1").field("minor", "35").field("gitVersion", o.git_version);
  w.field("gitCommit", "").field("gitTreeState", "clean").field("buildDate", "1970-01-01T00:00:00Z");
  w.field("goVersion", "").field("compiler", "g++");
#if defined(__x86_64__)
  w.field("platform", "linux/amd64");
#elif defined(__aarch64__)
  w.field("platform", "linux/arm64");
#else
  w.field("platform", "linux/arm");
#endif
  w.end_object();
  return w.take();
}

}  // namespace

bool serve_health(const CallPtr& call) {
  std::vector<std::string_view> p = split_path(call->info.path);
  if (p.empty() || p.size() > 2) return false;
  if (p[0] == "livez" || p[0] == "readyz" || p[0] == "healthz") {
    answer(call, p[0], p.size() == 2 ? p[1] : std::string_view());
    return true;
  }
  if (p.size() != 1) return false;
  if (p[0] == "version") {
    call->respond(200, version_document(call->core.options));
    return true;
  }
  if (p[0] == "metrics") {
    call->respond(200, call->core.metrics.scrape(), "text/plain; version=0.0.4; charset=utf-8");
    return true;
  }
  return false;
}

}  // namespace limpet::api
