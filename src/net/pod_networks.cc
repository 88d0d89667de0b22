#include "net/pod_networks.h"

#include <algorithm>

#include "base/log.h"
#include "net/kernel_watch.h"
#include "net/network_state.h"

namespace limpet::net {

namespace {

// Changes come in bursts; one look answers them all.
constexpr int64_t kSettleMs = 200, kLongestSettleMs = 60'000;
// Who mends what another program breaks again must not make a loop of it: each time within this span doubles
// the wait before the next look.
constexpr int64_t kCalmMs = 300'000;
constexpr int64_t kRetryMs = 1'000, kLongestRetryMs = 60'000;

}  // namespace

struct PodNetworks::Job {
  std::function<Outcome(NetworkState&)> work;
  std::function<void(Outcome)> done;
};

PodNetworks::PodNetworks(loop::Loop& loop, NetworkOptions options)
    : loop_(loop),
      options_(std::move(options)),
      state_(std::make_shared<NetworkState>(options_)),
      settle_(loop, "pod-network-settle"),
      retry_(loop, "pod-network-retry") {}
PodNetworks::~PodNetworks() = default;

void PodNetworks::enqueue(std::function<Outcome(NetworkState&)> work, std::function<void(Outcome)> done) {
  jobs_.push_back({std::move(work), std::move(done)});
  next();
}

void PodNetworks::next() {
  if (work_.busy() || jobs_.empty()) return;
  struct Report {
    Outcome outcome;
    size_t attached = 0;
    std::string problem;
  };
  auto report = std::make_shared<Report>();
  work_.start(
      loop_,
      [state = state_, job = jobs_.front().work, report] {
        report->outcome = job(*state);
        report->attached = state->attached();
        report->problem = state->problem();
      },
      [this, report] {
        attached_ = report->attached;
        auto done = std::move(jobs_.front().done);
        jobs_.pop_front();
        // The next job is started from a turn of its own, since done may destroy or call this object.
        loop_.defer([this, alive = std::weak_ptr<bool>(alive_), problem = report->problem] {
          if (alive.expired()) return;
          note(problem);
          next();
        });
        done(std::move(report->outcome));
      });
}

// ---- what others change

void PodNetworks::watch() {
  auto made = KernelWatch::make(loop_,
                                {options_.table, options_.bridge, options_.local.first_host(),
                                 [this](const std::string& link) { return links_.contains(link); }},
                                [this] { touched(); });
  if (made) {
    watch_ = std::move(*made);
  } else {
    log::warning("changes that others make to the pod network are not noticed, going on",
                 {{"error", made.error()}});
  }
}

void PodNetworks::touched() {
  if (settle_.active()) return;
  if (mends_ > 0 && loop_.now_ms() - mended_ms_ > kCalmMs) mends_ = 0;
  settle_.start(std::min(kSettleMs << std::min(mends_, 10), kLongestSettleMs), [this] { check(); });
}

void PodNetworks::check() {
  enqueue([](NetworkState& s) { return s.mend(); }, [this](const Outcome& mended) { checked(mended); });
}

void PodNetworks::checked(const Outcome& mended) {
  if (!mended || mended->empty()) return;
  mends_++;
  mended_ms_ = loop_.now_ms();
  if (problem_.empty()) {
    log::warning("the pod network was changed by another program and is set right again",
                 {{"what", *mended}});
  } else {
    log::notice("the pod network is set up now", {{"what", *mended}});
  }
}

// After each job: what is wrong is told once and tried again.
void PodNetworks::note(const std::string& problem) {
  if (!running_) return;
  if (problem != problem_) {
    problem_ = problem;
    if (!problem.empty()) log::error("the pod network has a problem, trying again", {{"error", problem}});
    if (on_problem_) on_problem_(problem);
  }
  if (problem.empty()) {
    retry_ms_ = 0;
    return retry_.stop();
  }
  if (retry_.active()) return;
  retry_ms_ = std::clamp(retry_ms_ * 2, kRetryMs, kLongestRetryMs);
  retry_.start(retry_ms_, [this] { check(); });
}

namespace {

// Most jobs have no value to give back.
std::function<void(Result<std::string>)> drop_value(std::function<void(Result<>)> done) {
  return [done = std::move(done)](Result<std::string> r) {
    if (r) return done({});
    done(std::unexpected(std::move(r).error()));
  };
}

Result<std::string> no_value(Result<> r) {
  if (!r) return std::unexpected(std::move(r).error());
  return std::string();
}

}  // namespace

void PodNetworks::start(std::function<void(Result<>)> done) {
  enqueue([](NetworkState& s) { return no_value(s.start()); },
          drop_value([this, done = std::move(done)](Result<> r) { started(std::move(r), done); }));
}

void PodNetworks::started(Result<> r, const std::function<void(Result<>)>& done) {
  running_ = true;
  if (!r) problem_ = r.error().message;
  if (options_.enabled) watch();
  done(std::move(r));
}

void PodNetworks::attach(const std::string& uid, const std::string& netns, std::vector<HostPortRequest> ports,
                         std::function<void(Result<std::string>)> done) {
  enqueue([uid, netns, ports = std::move(ports)](NetworkState& s) { return s.attach(uid, netns, ports); },
          [this, uid, done = std::move(done)](Outcome r) {
            if (r) links_.insert(host_interface(uid));
            done(std::move(r));
          });
}

void PodNetworks::detach(const std::string& uid, std::function<void(Result<>)> done) {
  links_.erase(host_interface(uid));
  enqueue([uid](NetworkState& s) { return no_value(s.detach(uid)); }, drop_value(std::move(done)));
}

void PodNetworks::retain(const std::vector<std::string>& uids) {
  enqueue([uids](NetworkState& s) { return no_value(s.retain(uids)); },
          [](Result<std::string> r) {
            if (!r) log::warning("cannot remove networks of pods that are gone", {{"error", r.error()}});
          });
}

void PodNetworks::remove_all(std::function<void(Result<>)> done) {
  enqueue([](NetworkState& s) { return no_value(s.remove_all()); }, drop_value(std::move(done)));
}

size_t PodNetworks::attached() const { return attached_; }
std::string PodNetworks::gateway() const { return options_.local.first_host().text(); }

}  // namespace limpet::net
