#include "daemon/daemon.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

namespace limpet::daemon {
namespace {

constexpr int64_t readiness_check_ms = 20;

int64_t monotonic_usec() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);  // what sd_notify asks for, not the clock of our timers
  return int64_t{t.tv_sec} * 1'000'000 + t.tv_nsec / 1000;
}

}  // namespace

void apply_log_level(const Config& config) {
  using log::Level;
  const std::pair<std::string_view, Level> levels[] = {{"error", Level::error},
                                                       {"warning", Level::warning},
                                                       {"notice", Level::notice},
                                                       {"info", Level::info},
                                                       {"debug", Level::debug}};
  for (const auto& [name, level] : levels) {
    if (config.logs.level == name) log::set_level(level);
  }
}

Daemon::Daemon(Device& device, Parts parts, Notifier& notifier, std::string config_path)
    : device_(device), parts_(std::move(parts)), notifier_(notifier), config_path_(std::move(config_path)) {
  device_.fatal = [this](const std::string& reason) {
    exit_status_ = 1;
    log::error("cannot go on", {{"reason", reason}});
    // Not from inside the part that reports it.
    device_.loop.defer([this, reason] { stop(reason); });
  };
  device_.restart = [this](const std::string& reason) {
    device_.loop.defer([this, reason] {
      restarts_ = !stopping_;
      stop(reason);
    });
  };
  device_.starting_takes = [this](int64_t ms) { notifier_.extend_timeout(ms * 1000); };
  device_.starting_status = [this](const std::string& text) { notifier_.status(text); };
  device_.not_ready = [this] {
    std::vector<std::pair<std::string, std::string>> out;
    for (size_t i = 0; i < started_; i++) {
      if (std::string reason = parts_[i]->not_ready(); !reason.empty())
        out.emplace_back(parts_[i]->name(), reason);
    }
    return out;
  };
}

Daemon::~Daemon() {
  device_.not_ready = nullptr;
  device_.restart = nullptr;
  device_.starting_takes = nullptr;
  device_.starting_status = nullptr;
}

Result<> Daemon::start() {
  CHECK_OK(watch_signals());
  start_watchdog();  // after a new beginning the service manager has never ceased to wait for it
  starting_ = true;
  auto started = start_parts();
  starting_ = false;
  if (stopping_) {
    stop_parts();
    return started;
  }
  readiness_ = std::make_unique<loop::Timer>(device_.loop, "readiness");
  readiness_->repeat(readiness_check_ms, [this] { announce(); });
  announce();
  return {};
}

Result<> Daemon::start_parts() {
  for (auto& part : parts_) {
    if (stopping_) return {};
    const int64_t began = device_.clock.monotonic_ms();
    if (auto started = part->start(); !started) {
      if (stopping_ && started.error().code == Errc::cancelled) return {};  // as it was told to
      exit_status_ = 1;
      Error error = std::move(started).error().with(std::string("start ") + part->name());
      log::error(error.message);
      stop("start failed");
      notifier_.status(error.message);
      return std::unexpected(std::move(error));
    }
    started_++;
    log::debug("part started", {{"part", part->name()}, {"ms", device_.clock.monotonic_ms() - began}});
  }
  return {};
}

// READY is said once, when the last part is ready.
void Daemon::announce() {
  if (stopping_ || !readiness_) return;
  for (const auto& part : parts_) {
    if (const std::string reason = part->not_ready(); !reason.empty()) return;
  }
  notifier_.ready(strf("serving as %s", device_.node_name.c_str()));
  log::info("ready", {{"node", device_.node_name}});
  announced_ = true;
  // The timer may be the caller.
  readiness_->stop();
}

Result<> Daemon::watch_signals() {
  struct Row {
    int signum;
    loop::Task action;
  };
  Row rows[] = {{SIGTERM, [this] { on_stop_signal("SIGTERM"); }},
                {SIGINT, [this] { on_stop_signal("SIGINT"); }},
                {SIGHUP, [this] { reload(); }}};
  for (Row& row : rows) {
    TRY(auto watched, loop::Signal::make(device_.loop, row.signum, std::move(row.action)));
    signals_.push_back(std::move(watched));
  }
  return {};
}

void Daemon::start_watchdog() {
  if (notifier_.watchdog_period_ms() <= 0) return;
  watchdog_ = std::make_unique<loop::Timer>(device_.loop, "watchdog");
  watchdog_->repeat(notifier_.watchdog_period_ms(), [this] { notifier_.watchdog(); });
  notifier_.watchdog();
}

void Daemon::on_stop_signal(const char* name) {
  if (restarts_) {  // it stops already
    restarts_ = false;
    notifier_.stopping("stopping");
    return;
  }
  if (stopping_) {
    // The operator insists. What was acknowledged is on stable storage; nothing else needs us.
    log::warning("second signal, ending at once", {{"signal", name}});
    _exit(1);
  }
  stop(name);
}

void Daemon::stop(const std::string& reason) {
  if (stopping_) return;
  stopping_ = device_.stopping = true;
  log::info("stopping; containers go on running", {{"reason", reason}});
  if (restarts_) {
    notifier_.reloading(monotonic_usec(), "beginning anew: " + reason);
  } else {
    notifier_.stopping("stopping");
  }
  readiness_.reset();
  stop_deadline_ = std::make_unique<loop::Timer>(device_.loop, "stop deadline");
  stop_deadline_->start(stop_deadline_ms, [this] {
    log::error("stopping takes too long, ending now",
               {{"waiting_for", started_ > 0 ? parts_[started_ - 1]->name() : "nothing"}});
    _exit(1);
  });
  if (!starting_) stop_parts();
}

void Daemon::stop_parts() {
  const auto before = device_.before_stop;
  if (!before || exit_status_ != 0) return stop_next();
  before([this] { device_.loop.defer([this] { stop_next(); }); });
}

void Daemon::stop_next() {
  if (started_ == 0) {
    signals_.clear();
    watchdog_.reset();
    stop_deadline_.reset();
    log::info("stopped");
    device_.loop.stop();
    return;
  }
  Part& part = *parts_[started_ - 1];
  part.stop([this] {
    started_--;
    device_.loop.defer([this] { stop_next(); });
  });
}

void Daemon::reload() {
  if (stopping_) return;
  if (config_path_.empty()) {
    log::notice("no configuration file is in use, nothing to reload");
    return;
  }
  // As long as READY was not said it is not for a reload to say it.
  if (announced_) notifier_.reloading(monotonic_usec());
  auto wanted = load_config(config_path_);
  if (!wanted) {
    log::error("configuration not reloaded, the old one stays", {{"error", wanted.error()}});
    return reload_ended("configuration has errors, the old one stays");
  }
  const Config before = device_.config;
  if (starting_) device_.config.join = wanted->join;  // what the device waits for
  for (const std::string& key : needs_restart(device_.config, *wanted)) {
    log::warning("a changed key takes effect after a restart", {{"key", key}});
  }
  device_.config = reloaded(device_.config, *wanted);
  apply_log_level(device_.config);
  for (size_t i = 0; i < started_; i++) parts_[i]->reload(before);
  log::info("configuration reloaded", {{"file", config_path_}});
  reload_ended("configuration reloaded");
}

void Daemon::reload_ended(const std::string& status) {
  if (announced_) {
    notifier_.ready(status);
  } else {
    notifier_.status(status);
  }
}

}  // namespace limpet::daemon
