#include "node/lease_keeper.h"

#include <algorithm>

#include "base/log.h"

namespace limpet::node {
namespace {

constexpr int64_t kFirstRetryMs = 1000;
constexpr int kMostDoublings = 10;

}  // namespace

LeaseKeeper::LeaseKeeper(loop::Loop& loop, Random& random, client::Client& client, Heartbeat heartbeat,
                         Hooks hooks)
    : loop_(loop),
      random_(random),
      client_(client),
      heartbeat_(heartbeat),
      hooks_(std::move(hooks)),
      timer_(loop, "heartbeat") {}
LeaseKeeper::~LeaseKeeper() = default;

// The rhythm begins somewhere within an interval, so that devices that came up with the mains do not beat as
// one.
void LeaseKeeper::start() {
  due_ms_ =
      loop_.now_ms() - static_cast<int64_t>(random_.below(static_cast<uint64_t>(heartbeat_.interval_ms)));
  beat();
}

void LeaseKeeper::beat() {
  client::Call post{"POST", "/limpet/v1/heartbeat", "", "application/json",
                    strf("{\"leaseDurationSeconds\":%lld}", static_cast<long long>(heartbeat_.lease_s))};
  // Beats fall on a grid: what one is late by, the next is not. Those that were slept through are left out.
  const int64_t now = loop_.now_ms();
  due_ms_ += (now - due_ms_) / heartbeat_.interval_ms * heartbeat_.interval_ms;
  plan(due_ms_ + heartbeat_.interval_ms - now);
  call_ = client_.call(std::move(post), [this](Result<client::Reply> reply) { answered(reply); });
}

// A request that has no answer by then is given up with the next.
void LeaseKeeper::plan(int64_t delay_ms) {
  timer_.start(delay_ms, [this] {
    if (call_) answered(fail(Errc::timeout, "no answer within an interval"));
    beat();
  });
}

void LeaseKeeper::answered(const Result<client::Reply>& reply) {
  const auto finished = std::move(call_);
  if (reply && reply->ok()) {
    ++heard_;
    heard_ms_ = loop_.now_ms();
    problem_.clear();
    if (std::exchange(failures_, 0) == 0) return;
    log::notice("the servers hear of this device again");
    if (hooks_.heard_again) hooks_.heard_again();
    return;
  }
  const Error why = reply ? reply->error() : reply.error();
  ++failed_;
  problem_ = why.message;
  if (failures_ == 0) log::warning("the heartbeat of this device is not heard, trying on", {{"error", why}});
  const int64_t wait = kFirstRetryMs << std::min(failures_++, kMostDoublings);
  const int64_t left = due_ms_ + heartbeat_.interval_ms - loop_.now_ms();
  if (wait < left) plan(wait);
  if (reply && reply->status == 404 && hooks_.unknown) hooks_.unknown();
}

}  // namespace limpet::node
