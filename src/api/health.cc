#include "api/health.h"

#include "api/build_commit.h"
#include "base/json.h"

namespace limpet::api {
namespace {

constexpr int64_t kStoreLimitMs = 5000;
constexpr const char* kProbe = "readyz";  // never saved: what is asked for is an answer

struct Check {
  std::string name, failure;  // empty: good
};

void answer(const CallPtr& call, std::string_view what, std::string_view one,
            const std::vector<Check>& checks) {
  bool good = true, found = one.empty();
  std::string lines;
  for (const Check& c : checks) {
    if (!one.empty() && c.name != one) continue;
    found = true;
    const bool ok = c.failure.empty();
    good = good && ok;
    // Why is not for everybody, as upstream has it.
    std::string why = call->user.anonymous() ? "reason withheld" : c.failure;
    lines += (ok ? "[+]" : "[-]") + c.name + (ok ? " ok" : " failed: " + why) + "\n";
  }
  if (!found) return call->fail(status::no_such_path());
  bool verbose = call->query().has("verbose") && one.empty();  // whatever its value, as upstream has it
  std::string text = "ok";
  if (!good) {
    text = lines + std::string(what) + " check failed\n";
  } else if (verbose) {
    text = lines + std::string(what) + " check passed\n";
  }
  call->respond(good ? 200 : 500, std::move(text), "text/plain; charset=utf-8");
}

// Asks the storage thread, which answers after what it has under way; then says what is ready.
class Readiness : public Session {
 public:
  Readiness(CallPtr call, std::string what, std::string one)
      : call_(std::move(call)),
        what_(std::move(what)),
        one_(std::move(one)),
        limit_(call_->core.loop, "readyz") {}

  void start() {
    if (one_ == "caught-up") return catch_up();
    if (!one_.empty() && one_ != "store") return finish("");
    std::weak_ptr<Session> weak = weak_from_this();
    limit_.start(kStoreLimitMs, [weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock()) finish("the storage thread does not answer");
    });
    call_->core.store.load(kProbe, [weak, this](Result<std::optional<std::string>> got) {
      std::shared_ptr<Session> keep = weak.lock();
      if (!keep || over_) return;
      if (!got) return finish(got.error().message);
      catch_up();
    });
  }

  void stop() override { finish("the server is shutting down"); }

 private:
  // What the leader had agreed on a moment ago is in the state here.
  void catch_up() {
    Core& core = call_->core;
    if (core.single()) return finish("");
    behind_ = "the leader does not confirm that this server has all of its state";
    if (!core.cluster->leader_known()) return finish("");
    std::weak_ptr<Session> weak = weak_from_this();
    limit_.start(kStoreLimitMs, [weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock()) finish("");
    });
    core.cluster->barrier([weak, this](Result<> done) {
      std::shared_ptr<Session> keep = weak.lock();
      if (!keep) return;
      behind_ = done ? "" : done.error().message;
      finish("");
    });
  }

  void finish(std::string store_failure) {
    if (over_) return;
    over_ = true;
    limit_.stop();
    Core& core = call_->core;
    std::vector<Check> checks{{"ping", ""}, {"store", std::move(store_failure)}};
    if (core.cluster) {
      checks.push_back({"leader", core.cluster->leader_known() ? "" : "no server leads the cluster now"});
      checks.push_back({"caught-up", behind_});
    }
    checks.push_back({"namespaces", core.ready ? "" : "the built-in namespaces are not there yet"});
    checks.push_back({"shutdown", core.stopping ? "the server is shutting down" : ""});
    if (core.options.ready_checks) {
      for (auto& [name, failure] : core.options.ready_checks()) checks.push_back({name, std::move(failure)});
    }
    answer(call_, what_, one_, checks);
    core.finish(this);
  }

  CallPtr call_;
  std::string what_, one_;
  std::string behind_;  // why the state here may not be all; empty: it is
  loop::Timer limit_;
  bool over_ = false;
};

std::string version_document(const Options& o) {
  json::Writer w;
  w.begin_object().field("major", "1").field("minor", "35").field("gitVersion", o.git_version);
  w.field("gitCommit", LIMPET_COMMIT).field("gitTreeState", LIMPET_TREE_STATE);
  w.field("buildDate", rfc3339({SystemClock::build_time(), 0}));
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
    std::string one(p.size() == 2 ? p[1] : std::string_view());
    if (p[0] == "livez") {
      answer(call, p[0], one, {{"ping", ""}});
      return true;
    }
    auto readiness = std::make_shared<Readiness>(call, std::string(p[0]), std::move(one));
    call->core.keep(readiness);
    readiness->start();
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
