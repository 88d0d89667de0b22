#include "tls/engine.h"

#include <mbedtls/aes.h>

#include <algorithm>

#include "base/assert.h"
#include "tls/mbed.h"
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
  return s;
}

bool Engine::Impl::submit(Job job, bool first_step) {
  if (first_step && waiting() >= limits.max_waiting) {
    for (auto& queue : queues_) std::erase_if(queue, [](const Job& j) { return j.owner.expired(); });
    if (waiting() >= limits.max_waiting) {
      counts.handshakes_refused++;
      return false;
    }
  }
  int queue = job.session->config->urgent ? 0 : first_step ? 2 : 1;
  queues_[queue].push_back(std::move(job));
  pump();
  return true;
}

void Engine::Impl::pump() {
  for (Lane& lane : lanes_) {
    Job job;
    if (!lane.busy && take(job)) run(lane, std::move(job));
  }
}

// The first job that may run now: its owner lives and its configuration is not in use as often as it may be.
bool Engine::Impl::take(Job& out) {
  for (auto& queue : queues_) {
    std::erase_if(queue, [](const Job& j) { return j.owner.expired(); });
    auto it = std::find_if(queue.begin(), queue.end(), [](const Job& j) {
      return j.session->config->running < j.session->config->max_parallel;
    });
    if (it == queue.end()) continue;
    out = std::move(*it);
    queue.erase(it);
    return true;
  }
  return false;
}

void Engine::Impl::run(Lane& lane, Job job) {
  lane.busy = true;
  job.session->config->running++;
  WallTime now = clock.wall();  // read here: the clock belongs to the loop's thread
  auto step = std::make_shared<Session::Step>();
  auto shared = std::make_shared<Job>(std::move(job));
  lane.work.start(
      loop, [session = shared->session, step, now] { *step = session->handshake(now); },
      [this, &lane, shared, step] {
        lane.busy = false;
        shared->session->config->running--;
        pump();
        if (std::shared_ptr<void> owner = shared->owner.lock()) shared->done(*step);
      });
}

}  // namespace limpet::tls
