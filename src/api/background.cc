#include "api/background.h"

#include <utility>

#include "api/bootstrap.h"

namespace limpet::api {
namespace {

constexpr int64_t kAgainMs = 1000;
constexpr int64_t kLookMs = 200;  // for namespaces that come from the leader, until they are there

}  // namespace

void settle(Core& core, std::function<void(Result<>)> done) {
  const uint64_t term = core.term();
  if (!core.leads()) return done(fail(Errc::unavailable, "this server does not lead the cluster"));
  if (core.single() || core.settled_term == term) {
    core.settled_term = term;
    return done({});
  }
  auto owner = core.shared_from_this();
  core.cluster->barrier([owner, term, done = std::move(done)](Result<> r) {
    if (!r) return done(std::move(r));
    if (!owner->leads_in(term)) return done(fail(Errc::unavailable, "another server leads the cluster now"));
    owner->settled_term = term;
    done({});
  });
}

void Background::start(std::function<void(Result<>)> done) {
  done_ = std::move(done);
  phase_ = Phase::idle;
  look();
}

void Background::stop() {
  end();
  phase_ = Phase::off;
}

void Background::look() {
  if (phase_ == Phase::off) return;
  if (phase_ != Phase::idle && (!core_.leads() || core_.term() != core_.work_term)) end();
  if (phase_ != Phase::idle) return;
  if (core_.leads()) return begin();
  if (!core_.ready) wait_for_namespaces();
}

void Background::begin() {
  phase_ = Phase::beginning;
  core_.work_term = core_.term();
  settle(core_, guarded([this](Result<> r) { settled(std::move(r)); }));
}

void Background::settled(Result<> settled) {
  if (!settled) return again();
  bootstrap(core_, guarded([this](Result<> r) { made(std::move(r)); }));
}

void Background::made(Result<> made) {
  if (!made) return core_.single() ? tell(std::move(made)) : again();
  phase_ = Phase::working;
  sweeper_.start();
  refresh_root_cas(core_);
  tell({});
}

void Background::again() {
  end();
  timer_.start(kAgainMs, [this] { look(); });
}

void Background::end() {
  alive_ = std::make_shared<int>(0);
  timer_.stop();
  if (phase_ == Phase::working) sweeper_.stop();
  phase_ = Phase::idle;
}

void Background::wait_for_namespaces() {
  find_built_in(core_, guarded([this](bool there) {
                  if (!there) return timer_.start(kLookMs, [this] { look(); });
                  core_.ready = true;
                  tell({});
                }));
}

void Background::tell(Result<> r) {
  if (auto done = std::exchange(done_, nullptr)) done(std::move(r));
}

}  // namespace limpet::api
