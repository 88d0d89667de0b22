// GET pods/NAME/log: text, streamed as the device reads it, with back-pressure down to the file.
#include <charconv>

#include "api/log_options.h"
#include "api/pod_target.h"
#include "api/subresources.h"
#include "base/json.h"

namespace limpet::api {
namespace {

constexpr size_t kQueueBound = 256 * 1024;

Status wrong(const char* field, std::string message) {
  return status::invalid("", "PodLogOptions", "",
                         {{"FieldValueInvalid", "Invalid value: " + std::move(message), field}});
}

Outcome<std::optional<int64_t>> number(const http::Query& q, const char* name, int64_t lowest) {
  std::string_view text = q.get(name);
  if (text.empty()) return std::nullopt;
  int64_t v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc() || end != text.data() + text.size()) {
    return std::unexpected(status::bad_request(std::string(name) + " is not a number"));
  }
  if (v < lowest) {
    return std::unexpected(
        wrong(name, std::to_string(v) + ": must be greater than or equal to " + std::to_string(lowest)));
  }
  return v;
}

class Log : public Session {
 public:
  explicit Log(CallPtr call) : call_(std::move(call)) {}

  void start(const ContainerRef& container, LogOptions options) {
    std::weak_ptr<Session> weak = weak_from_this();
    auto alive = [weak, this] { return !weak.expired() && !over_; };
    LogSession::Events e;
    e.on_ready = [alive, this] {
      if (alive()) begin();
    };
    e.on_data = [alive, this](std::string_view bytes) {
      if (alive()) data(bytes);
    };
    e.on_end = [alive, this](Result<> r) {
      if (alive()) end(std::move(r));
    };
    session_ = call_->core.nodes->logs(container, std::move(options), std::move(e));
  }

  void stop() override {
    if (over_) return;
    if (call_->answered()) call_->exchange().end();
    done();
  }

 private:
  void begin() {
    if (call_->answered()) return;
    if (!call_->begin(200, "text/plain")) return done();
    std::weak_ptr<Session> weak = weak_from_this();
    call_->on_gone([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) done();
    });
    call_->exchange().on_drain([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_ && session_) session_->pause(false);
    });
  }

  void data(std::string_view bytes) {
    begin();
    if (over_ || bytes.empty()) return;
    call_->exchange().write(bytes);
    if (session_ && call_->exchange().write_queue_size() > kQueueBound) session_->pause(true);
  }

  void end(Result<> r) {
    if (r) {
      begin();
      if (!over_) call_->exchange().end();
    } else if (call_->answered()) {
      call_->exchange().abort();
    } else {
      call_->fail(status::from_device(r.error()));
    }
    if (!over_) done();
  }

  void done() {
    over_ = true;
    call_->core.finish(this);  // ends the session with this object, after the current callback
  }

  CallPtr call_;
  std::unique_ptr<LogSession> session_;
  bool over_ = false;
};

}  // namespace

Outcome<LogOptions> read_log_options(const http::Query& q) {
  LogOptions o;
  o.follow = truthy(q, "follow");
  o.previous = truthy(q, "previous");
  o.timestamps = truthy(q, "timestamps");
  o.stream = q.get("stream");
  struct {
    const char* name;
    int64_t lowest;
    std::optional<int64_t>* to;
  } numbers[] = {{"tailLines", 0, &o.tail_lines},
                 {"sinceSeconds", 1, &o.since_seconds},
                 {"limitBytes", 1, &o.limit_bytes}};
  for (auto& n : numbers) {
    Outcome<std::optional<int64_t>> v = number(q, n.name, n.lowest);
    if (!v) return std::unexpected(v.error());
    *n.to = *v;
  }
  if (std::string_view since = q.get("sinceTime"); !since.empty()) {
    if (o.since_seconds) {
      return std::unexpected(status::invalid(
          "", "PodLogOptions", "",
          {{"FieldValueForbidden", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            "sinceSeconds"}}));
    }
    Result<WallTime> t = parse_rfc3339(since);
    if (!t) return std::unexpected(status::bad_request("sinceTime: " + t.error().message));
    o.since_time = *t;
  }
  if (!o.stream.empty() && o.stream != "All" && o.stream != "Stdout" && o.stream != "Stderr") {
    return std::unexpected(wrong("stream", json::quoted(o.stream) + ": must be All, Stdout or Stderr"));
  }
  return o;
}

void pod_log(CallPtr call) {
  Outcome<LogOptions> options = read_log_options(call->query());
  if (!options) return call->fail(options.error());
  find_container(call, [call, options = *options](Outcome<ContainerRef> c) {
    if (!c) return call->fail(c.error());
    auto log = std::make_shared<Log>(call);
    call->core.keep(log);
    log->start(*c, options);
  });
}

}  // namespace limpet::api
