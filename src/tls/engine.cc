#include "tls/engine.h"

#include <mbedtls/aes.h>

#include <algorithm>

#include "base/assert.h"
#include "base/mbed.h"
#if LIMPET_MBED3
#include <psa/crypto.h>
#endif

namespace limpet::tls {

namespace {

// What mbedTLS keeps per process and would otherwise make in the middle of the first handshakes, on two
// threads.
void prepare_library() {
#if LIMPET_MBED3
  LIMPET_ASSERT(psa_crypto_init() == PSA_SUCCESS);
#endif
  mbedtls_aes_context aes;  // the AES tables
  mbedtls_aes_init(&aes);
  const unsigned char key[16] = {};
  LIMPET_ASSERT(mbedtls_aes_setkey_enc(&aes, key, 128) == 0);
  mbedtls_aes_free(&aes);
}

}  // namespace

Engine::Engine(loop::Loop& loop, Clock& clock) : Engine(loop, clock, Limits()) {}

Engine::Engine(loop::Loop& loop, Clock& clock, Limits limits)
    : impl_(std::make_unique<Impl>(loop, clock, limits)) {
  prepare_library();
}

Engine::~Engine() = default;

Stats Engine::stats() const {
  Stats s = impl_->counts;
  s.connections = *impl_->connections;
  s.connection_bytes = s.connections * Session::estimated_bytes;
  s.handshakes_waiting = static_cast<int64_t>(impl_->waiting());
  s.handshakes_silent = static_cast<int64_t>(impl_->silent.size());
  s.server_handshakes = static_cast<int64_t>(impl_->open);
  return s;
}

bool Engine::Impl::submit(Job job) {
  if (job.first && waiting() >= limits.max_waiting) {
    for (auto& queue : queues_) std::erase_if(queue, [](const Job& j) { return j.owner.expired(); });
    if (waiting() >= limits.max_waiting) {
      counts.handshakes_refused++;
      return false;
    }
  }
  const int queue = (job.config->urgent ? 0 : 2) + (job.first ? 1 : 0);
  queues_[queue].push_back(std::move(job));
  pump();
  return true;
}

bool Engine::Impl::admit() {
  if (open < limits.max_open) return true;
  counts.handshakes_refused++;
  if (silent.empty()) return false;
  silent.front()->give_way();
  return true;
}

bool Engine::Impl::starved() const {
  if (sessions < limits.max_sessions) return false;
  for (const auto& queue : queues_) {
    for (const Job& job : queue) {
      if (job.first && job.config->is_server && !job.owner.expired()) return true;
    }
  }
  return false;
}

// Not from inside the connection that ended: others may go on now.
void Engine::Impl::session_ended() {
  sessions--;
  loop.defer([this, alive = std::weak_ptr<char>(alive_)] {
    if (!alive.expired()) pump();
  });
}

void Engine::Impl::pump() {
  for (Lane& lane : lanes_) {
    Job job;
    while (!lane.busy && take(job)) {
      if (run(lane, std::move(job))) break;
    }
  }
}

// Its configuration is not in use as often as it may be, and there is a session to be had.
bool Engine::Impl::may_run(const Job& job) const {
  if (job.config->running >= job.config->max_parallel) return false;
  return !job.first || !job.config->is_server || sessions < limits.max_sessions;
}

// The first job that may run now and whose owner lives.
bool Engine::Impl::take(Job& out) {
  for (auto& queue : queues_) {
    std::erase_if(queue, [](const Job& j) { return j.owner.expired(); });
    auto it = std::find_if(queue.begin(), queue.end(), [this](const Job& j) { return may_run(j); });
    if (it == queue.end()) continue;
    out = std::move(*it);
    queue.erase(it);
    return true;
  }
  return false;
}

bool Engine::Impl::run(Lane& lane, Job job) {
  const std::shared_ptr<void> living = job.owner.lock();
  std::shared_ptr<Session> session = living ? job.session() : nullptr;
  if (!session) return false;
  lane.busy = true;
  job.config->running++;
  WallTime now = clock.wall();  // read here: the clock belongs to the loop's thread
  auto step = std::make_shared<Session::Step>();
  auto shared = std::make_shared<Job>(std::move(job));
  lane.work.start(
      loop, [session, step, now] { *step = session->handshake(now); },
      [this, &lane, shared, step] {
        lane.busy = false;
        shared->config->running--;
        pump();
        if (std::shared_ptr<void> owner = shared->owner.lock()) shared->done(*step);
      });
  return true;
}

}  // namespace limpet::tls
