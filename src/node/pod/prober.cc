#include "node/pod/prober.h"

#include <charconv>

#include "loop/stream.h"
#include "node/pod/grpc_health.h"

namespace limpet::node {

namespace {

constexpr size_t kMaxOutput = 10 << 10, kMaxMessage = 1024;

using Done = std::function<void(ProbeOutcome)>;

// Cut to what an event may carry, at a character's edge.
std::string brief(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.size() <= kMaxMessage) return text;
  size_t end = kMaxMessage;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) end--;
  text.resize(end);
  return text;
}

// A number, or the name of one of the container's ports; 0 when it is neither.
uint16_t port_number(const std::string& text, json::Cursor container) {
  unsigned number = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), number);
  if (r.ec == std::errc() && r.ptr == text.data() + text.size())
    return number < 65536 ? static_cast<uint16_t>(number) : 0;
  uint16_t found = 0;
  container["ports"].each([&](std::string_view, json::Cursor p) {
    if (p["name"].str_equals(text)) found = static_cast<uint16_t>(p["containerPort"].integer());
    return found == 0;
  });
  return found;
}

class Exec final : public Operation {
 public:
  Exec(Runtime& runtime, const Handler& handler, const ProbeTarget& target, int64_t timeout_ms, Done done)
      : done_(std::move(done)), timeout_ms_(timeout_ms) {
    ExecConfig config;
    config.container_id = target.container_id;
    config.args = handler.command;
    config.timeout_ms = timeout_ms;
    Session::Events events;
    events.on_stdout = events.on_stderr = [this](std::string_view bytes) {
      if (output_.size() < kMaxOutput) output_.append(bytes.substr(0, kMaxOutput - output_.size()));
    };
    events.on_exit = [this](Result<Session::Exit> e) { ended(std::move(e)); };
    session_ = runtime.exec(std::move(config), std::move(events));
  }

 private:
  void ended(Result<Session::Exit> e) {
    const Done done = std::move(done_);  // it may destroy this
    if (!e) return done({false, brief(e.error().message), true});
    if (e->timed_out) {
      return done({false, strf("command timed out after %llds", static_cast<long long>(timeout_ms_ / 1000))});
    }
    if (e->exit_code == 0) return done({true, ""});
    done({false, output_.empty() ? strf("command exited with status %d", e->exit_code) : brief(output_)});
  }

  Done done_;
  int64_t timeout_ms_;
  std::string output_;
  std::unique_ptr<Session> session_;
};

class Http final : public Operation {
 public:
  Http(loop::Loop& loop, const Handler& handler, const ProbeTarget& target, uint16_t port, int64_t timeout_ms,
       Done done)
      : done_(std::move(done)),
        deadline_(loop, "http-probe"),
        client_(loop, target.dialer ? *target.dialer : plain_, options(timeout_ms)) {
    http::ClientRequest r;
    r.origin.host = handler.host.empty() ? target.pod_ip : handler.host;
    r.origin.port = port;
    r.origin.tls = handler.scheme == "HTTPS";
    r.target = handler.path.starts_with("/") ? handler.path : "/" + handler.path;
    r.headers.set("User-Agent", "kube-probe/1.35");
    r.headers.set("Accept", "*/*");
    for (const HttpHeader& h : handler.headers) {
      // The client writes Host itself; a probe may name another virtual host.
      r.headers.set(h.name, h.value);
    }
    url_ = (r.origin.tls ? "https://" : "http://") + r.origin.authority() + r.target;
    deadline_.start(timeout_ms, [this] { end({false, "Get \"" + url_ + "\": context deadline exceeded"}); });
    http::CallEvents events;
    // The verdict is in the head; the body is of no interest and is not waited for.
    events.on_response = [this](const http::MessageHead& head) {
      if (head.status >= 200 && head.status < 400) return end({true, ""});
      end({false, strf("HTTP probe failed with statuscode: %d", head.status)});
    };
    events.on_body = [](std::string_view) {};
    events.on_end = [this](Result<> r2) {
      if (!r2) end({false, brief("Get \"" + url_ + "\": " + r2.error().message)});
    };
    call_ = client_.send(std::move(r), std::move(events));
  }

 private:
  static http::ClientOptions options(int64_t timeout_ms) {
    http::ClientOptions o;
    o.connect_timeout_ms = o.first_byte_timeout_ms = o.idle_timeout_ms = timeout_ms;
    o.max_idle_connections = 0;
    return o;
  }
  void end(ProbeOutcome outcome) {
    if (!done_) return;
    deadline_.stop();
    const Done done = std::exchange(done_, nullptr);
    done(std::move(outcome));  // may destroy this
  }

  Done done_;
  std::string url_;
  loop::Timer deadline_;
  http::PlainDialer plain_;
  http::Client client_;
  std::unique_ptr<http::Call> call_;
};

class Tcp final : public Operation {
 public:
  Tcp(loop::Loop& loop, const std::string& host, uint16_t port, int64_t timeout_ms, Done done)
      : done_(std::move(done)), what_(strf("dial tcp %s:%u: ", host.c_str(), unsigned{port})) {
    connect_.tcp(loop, host, port, timeout_ms, [this](Result<std::unique_ptr<loop::Stream>> stream) {
      const Done d = std::move(done_);
      d(stream ? ProbeOutcome{true, ""} : ProbeOutcome{false, brief(what_ + stream.error().message)});
    });
  }

 private:
  Done done_;
  std::string what_;
  loop::Connect connect_;
};

class Grpc final : public Operation {
 public:
  Grpc(loop::Loop& loop, const std::string& host, uint16_t port, const std::string& service,
       int64_t timeout_ms, Done done)
      : done_(std::move(done)),
        health_(strf("%s:%u", host.c_str(), unsigned{port}), service),
        deadline_(loop, "grpc-probe") {
    const std::string what = strf("dial tcp %s:%u: ", host.c_str(), unsigned{port});
    deadline_.start(timeout_ms, [this, timeout_ms] {
      end({false, strf("timeout: health rpc did not complete within %llds",
                       static_cast<long long>(timeout_ms / 1000))});
    });
    connect_.tcp(loop, host, port, timeout_ms, [this, what](Result<std::unique_ptr<loop::Stream>> stream) {
      if (!stream) return end({false, what + stream.error().message});
      stream_ = std::move(*stream);
      stream_->set_events({.on_read = [this](std::string_view bytes) { take(bytes); },
                           .on_eof = [this] { end(health_.closed()); },
                           .on_error = [this](Error e) { end({false, "health rpc failed: " + e.message}); },
                           .on_drain = {}});
      stream_->write(health_.take_output());
      stream_->read_start();
    });
  }

 private:
  void take(std::string_view bytes) {
    if (const auto verdict = health_.feed(bytes)) return end(*verdict);
    std::string answer = health_.take_output();
    if (!answer.empty()) stream_->write(std::move(answer));
  }
  void end(GrpcHealth::Verdict v) {
    if (!done_) return;
    deadline_.stop();
    const Done done = std::exchange(done_, nullptr);
    done({v.serving, brief(std::move(v.message))});  // may destroy this
  }

  Done done_;
  GrpcHealth health_;
  loop::Timer deadline_;
  loop::Connect connect_;
  std::unique_ptr<loop::Stream> stream_;
};

// An outcome known at once, or after a while (`sleep`).
class Later final : public Operation {
 public:
  Later(loop::Loop& loop, int64_t delay_ms, ProbeOutcome outcome, Done done) : timer_(loop, "probe-later") {
    timer_.start(delay_ms, [outcome = std::move(outcome), done = std::move(done)] {
      const Done d = done;  // destroying the timer destroys this closure
      d(outcome);
    });
  }

 private:
  loop::Timer timer_;
};

}  // namespace

std::unique_ptr<Operation> run_handler(loop::Loop& loop, Runtime& runtime, const Handler& handler,
                                       const ProbeTarget& target, int64_t timeout_ms, Done done) {
  const auto fails = [&](std::string why) {
    return std::make_unique<Later>(loop, 1, ProbeOutcome{false, std::move(why)}, std::move(done));
  };
  if (timeout_ms < 1) timeout_ms = 1000;
  switch (handler.kind) {
    case Handler::Kind::exec:
      return std::make_unique<Exec>(runtime, handler, target, timeout_ms, std::move(done));
    case Handler::Kind::sleep:
      return std::make_unique<Later>(loop, handler.seconds * 1000 + 1, ProbeOutcome{true, ""},
                                     std::move(done));
    case Handler::Kind::none:
      return fails("no handler");
    case Handler::Kind::http:
    case Handler::Kind::grpc:
    case Handler::Kind::tcp:
      break;
  }
  const uint16_t port = port_number(handler.port, target.container);
  if (port == 0)
    return fails("\"" + handler.port + "\" is no port number and no name of a port of the container");
  if (handler.kind == Handler::Kind::tcp) {
    return std::make_unique<Tcp>(loop, handler.host.empty() ? target.pod_ip : handler.host, port, timeout_ms,
                                 std::move(done));
  }
  if (handler.kind == Handler::Kind::grpc) {
    return std::make_unique<Grpc>(loop, target.pod_ip, port, handler.service, timeout_ms, std::move(done));
  }
  return std::make_unique<Http>(loop, handler, target, port, timeout_ms, std::move(done));
}

}  // namespace limpet::node
