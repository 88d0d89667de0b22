#include "daemon/node_access.h"

#include "node/container_starter.h"
#include "node/pod_worker.h"
#include "node/pod_worker_probes.h"
#include "node/runtime/cri_log.h"

namespace limpet::daemon {
namespace {

using Phase = node::ContainerRecord::Phase;

// How often a followed log looks whether its container ended.
constexpr int64_t follow_look_ms = 1000;

Error no_pod(const api::ContainerRef& c) {
  return {Errc::not_found, "pod \"" + c.pod + "\" is not on this device", 0};
}

// The worker of the pod that is meant, not of one of its name that was made since.
const node::PodWorker* find_worker(node::Agent& agent, const api::ContainerRef& c) {
  const node::PodWorker* worker = agent.find(c.ns + "/" + c.pod);
  return worker && (c.uid.empty() || worker->spec().uid == c.uid) ? worker : nullptr;
}

Error waiting(const api::ContainerRef& c, const node::ContainerRecord* r) {
  const std::string reason = r && !r->waiting_reason.empty() ? r->waiting_reason : "ContainerCreating";
  return {Errc::invalid_argument,
          "container \"" + c.container + "\" in pod \"" + c.pod + "\" is waiting to start: " + reason, 0};
}

const node::ContainerRecord* find_record(const node::PodWorker& worker, const std::string& container) {
  const auto it = worker.state().containers.find(container);
  return it == worker.state().containers.end() ? nullptr : &it->second;
}

// A session that could not begin: the reason comes in a turn of its own.
class FailedLog final : public api::LogSession {
 public:
  FailedLog(loop::Loop& loop, Error why, Events events) : timer_(loop, "log-refused") {
    timer_.start(0, [why = std::move(why), end = std::move(events.on_end)] {
      const auto f = end;  // the session is destroyed inside
      f(std::unexpected(why));
    });
  }
  void pause(bool) override {}

 private:
  loop::Timer timer_;
};

class Log final : public api::LogSession {
 public:
  Log(loop::Loop& loop, node::Agent& agent, api::ContainerRef container, node::LogOptions options,
      std::string path, std::string run, Events events)
      : agent_(agent),
        container_(std::move(container)),
        run_(std::move(run)),
        events_(std::move(events)),
        look_(loop, "log-follow"),
        begin_(loop, "log-begin") {
    begin_.start(0, [this, &loop, options, path] { begin(loop, options, path); });
  }
  void pause(bool paused) override {
    if (reader_) reader_->pause(paused);
  }

 private:
  void begin(loop::Loop& loop, const node::LogOptions& options, const std::string& path) {
    node::LogReader::Events e;
    e.on_data = [this](std::string_view bytes) { events_.on_data(bytes); };
    e.on_end = [this](Result<> r) {
      const auto end = events_.on_end;
      end(std::move(r));  // destroys this
    };
    auto reader = node::open_log(loop, path, options, std::move(e));
    if (!reader) {
      const auto end = events_.on_end;
      return end(std::unexpected(std::move(reader).error()));
    }
    reader_ = std::move(*reader);
    if (options.follow) look_.repeat(follow_look_ms, [this] { look(); });
    events_.on_ready();
  }
  // The container of this log ended, or another run of it began: what is written is all there will be.
  void look() {
    const node::PodWorker* worker = find_worker(agent_, container_);
    const node::ContainerRecord* r = worker ? find_record(*worker, container_.container) : nullptr;
    if (r && r->id == run_ &&
        (r->phase == Phase::running || r->phase == Phase::stopping || r->phase == Phase::starting))
      return;
    look_.stop();
    reader_->finish();
  }

  node::Agent& agent_;
  api::ContainerRef container_;
  std::string run_;
  Events events_;
  std::unique_ptr<node::LogReader> reader_;
  loop::Timer look_, begin_;
};

class Exec final : public api::ExecSession {
 public:
  explicit Exec(Events events) : events_(std::move(events)) {}
  void run(node::Runtime& runtime, const std::string& id, const api::ExecRequest& request) {
    node::Session::Events e;
    e.on_stdout = [this](std::string_view b) { events_.on_output(false, b); };
    e.on_stderr = [this](std::string_view b) { events_.on_output(true, b); };
    e.on_stdin_drain = [this] {
      if (events_.on_drain) events_.on_drain();
    };
    // An attach ends well whatever the container's exit code: clients read that from the pod.
    const bool attach = request.command.empty();
    e.on_exit = [this, attach](Result<node::Session::Exit> exit) {
      const auto done = events_.on_exit;
      if (exit) return done(attach ? 0 : exit->exit_code);
      done(std::unexpected(std::move(exit).error()));
    };
    if (request.command.empty()) {
      session_ = runtime.attach({id, request.in, request.out || request.err}, std::move(e));
    } else {
      session_ = runtime.exec({id, request.command, request.tty, request.in, 0}, std::move(e));
    }
  }
  void write_stdin(std::string_view bytes) override { session_->write_stdin(std::string(bytes)); }
  void close_stdin() override { session_->close_stdin(); }
  void resize(int width, int height) override {
    session_->resize(static_cast<uint16_t>(width), static_cast<uint16_t>(height));
  }
  size_t stdin_queue_size() const override { return session_->stdin_queued(); }
  void pause(bool pause) override { session_->pause_output(pause); }

 private:
  Events events_;
  std::unique_ptr<node::Session> session_;
};

class FailedExec final : public api::ExecSession {
 public:
  FailedExec(loop::Loop& loop, Error why, Events events) : timer_(loop, "exec-refused") {
    timer_.start(0, [why = std::move(why), exit = std::move(events.on_exit)] {
      const auto f = exit;
      f(std::unexpected(why));
    });
  }
  void write_stdin(std::string_view) override {}
  void close_stdin() override {}
  void resize(int, int) override {}
  size_t stdin_queue_size() const override { return 0; }
  void pause(bool) override {}

 private:
  loop::Timer timer_;
};

node::LogOptions reader_options(const api::LogOptions& o, WallTime now) {
  node::LogOptions out;
  out.follow = o.follow && !o.previous;
  out.timestamps = o.timestamps;
  out.tail_lines = o.tail_lines.value_or(-1);
  out.limit_bytes = o.limit_bytes.value_or(-1);
  out.since = o.since_time;
  if (o.since_seconds) out.since = WallTime{now.seconds - *o.since_seconds, now.nanos};
  if (o.stream == "Stdout") out.stream = node::LogOptions::Stream::out;
  if (o.stream == "Stderr") out.stream = node::LogOptions::Stream::err;
  return out;
}

}  // namespace

std::unique_ptr<api::LogSession> LocalNodeAccess::logs(const api::ContainerRef& container,
                                                       api::LogOptions options,
                                                       api::LogSession::Events events) {
  const node::PodWorker* worker = find_worker(agent_, container);
  if (!worker) return std::make_unique<FailedLog>(loop_, no_pod(container), std::move(events));
  const node::ContainerRecord* r = find_record(*worker, container.container);
  // A run that is only being made has no log yet; the one before it may have one.
  const bool started =
      r && r->ran_before && !(r->phase == Phase::waiting && r->restart_count == 0 && !r->exit);
  if (!started) return std::make_unique<FailedLog>(loop_, waiting(container, r), std::move(events));
  if (options.previous && r->restart_count == 0) {
    return std::make_unique<FailedLog>(loop_,
                                       Error{Errc::invalid_argument,
                                             "previous terminated container \"" + container.container +
                                                 "\" in pod \"" + container.pod + "\" not found",
                                             0},
                                       std::move(events));
  }
  return std::make_unique<Log>(loop_, agent_, container, reader_options(options, clock_.wall()),
                               worker->log_path(container.container, options.previous), r->id,
                               std::move(events));
}

std::unique_ptr<api::ExecSession> LocalNodeAccess::exec(const api::ContainerRef& container,
                                                        api::ExecRequest request,
                                                        api::ExecSession::Events events) {
  const node::PodWorker* worker = find_worker(agent_, container);
  if (!worker) return std::make_unique<FailedExec>(loop_, no_pod(container), std::move(events));
  const node::ContainerRecord* r = find_record(*worker, container.container);
  if (!r || (r->phase != Phase::running && r->phase != Phase::stopping)) {
    return std::make_unique<FailedExec>(
        loop_,
        Error{Errc::not_found,
              "container \"" + container.container + "\" of pod \"" + container.pod + "\" is not running", 0},
        std::move(events));
  }
  auto session = std::make_unique<Exec>(std::move(events));
  session->run(runtime_, r->id, request);
  return session;
}

}  // namespace limpet::daemon
