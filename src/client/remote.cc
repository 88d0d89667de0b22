#include "client/remote.h"

#include <utility>

#include "base/log.h"
#include "client/bundle.h"
#include "client/lines.h"

namespace limpet::client {
namespace {

constexpr size_t kMaxRefusalBytes = size_t{64} * 1024;

}  // namespace

// What the calls of one client have in common. Calls that are under way are held by their handles alone.
class RemoteClient::Shared {
 public:
  Shared(loop::Loop& l, http::Dialer& dialer, Random& random, RemoteOptions o)
      : loop(l), options(std::move(o)), http(l, dialer, http_options(options)), servers(random) {}

  void given_up(const Server& server, const Error& why);
  void answered(const Server& server);
  void end_streams(const std::function<bool(const Streaming&)>& which, const std::string& why);
  // What carries the streams of this server; null when it has no bundles.
  std::shared_ptr<Bundle> bundle_for(const Server& server);
  http::ClientRequest request(const Server& server) const {
    http::ClientRequest r;
    r.origin.host = server.host;
    r.origin.port = server.port;
    r.origin.tls = true;
    r.headers.add("User-Agent", options.user_agent);
    return r;
  }

  loop::Loop& loop;
  RemoteOptions options;
  http::Client http;
  Servers servers;
  std::string last_error, shut_out;
  std::function<void()> on_shut_out;
  std::set<Streaming*> streams;
  std::map<Server, std::shared_ptr<Bundle>> bundles;  // of the one in use; others live while streams use them
  std::set<Server> without_bundles;

 private:
  static http::ClientOptions http_options(const RemoteOptions& o) {
    http::ClientOptions h;
    h.connect_timeout_ms = o.connect_ms;
    h.first_byte_timeout_ms = h.idle_timeout_ms = o.answer_ms;
    h.max_idle_connections = 2;
    return h;
  }
};

// A request on its way to an answer, from server to server.
class RemoteClient::Asking : public std::enable_shared_from_this<Asking> {
 public:
  Asking(std::shared_ptr<Shared> shared, Call call)
      : shared_(std::move(shared)), request_(std::move(call)), wait_(shared_->loop, "api-server") {}
  virtual ~Asking() = default;

  // Never reports from inside.
  void start() { after(0); }
  // Nothing is told any more.
  virtual void cancel() {
    over_ = true;
    drop();
    wait_.stop();
  }

 protected:
  virtual void begin_answer() = 0;
  virtual Result<> body(std::string_view bytes) = 0;
  virtual void end_answer() = 0;
  virtual void fail_with(Error error) = 0;
  virtual int64_t idle_ms() const = 0;
  // Whether the answer got so far that it cannot come from another server.
  virtual bool committed() const { return false; }

  // To asked_; what comes of it is told to the functions below.
  virtual void transmit();
  virtual void drop() { http_.reset(); }
  void answer_begins(int status, bool retry_after) {
    status_ = status;
    retry_after_ = retry_after;
    begin_answer();
  }
  void answer_goes_on(std::string_view bytes) {
    Result<> taken = body(bytes);
    if (!taken && !over_) fail_with(std::move(taken).error().with(asked_->text()));
  }
  void answer_complete();
  void lost(Error error);
  std::string target() const { return request_.path + (request_.query.empty() ? "" : "?" + request_.query); }
  void limit(int64_t ms, const char* what) {
    wait_.start(ms, [weak = weak_from_this(), what] {
      if (auto self = weak.lock(); self && !self->over_)
        self->lost({Errc::timeout, self->asked_->text() + ": timed out " + what, 0});
    });
  }
  void no_limit() { wait_.stop(); }

  bool get() const { return request_.method == "GET"; }
  // Gives this server up and asks the next; false when none is left.
  bool next(const Error& why) {
    shared_->given_up(*asked_, why);
    if (over_) return true;  // it was cancelled meanwhile
    error_ = why;
    tried_.insert(*asked_);
    drop();
    if (!shared_->servers.choose(tried_, shared_->loop.now_ms())) return false;
    after(0);
    return true;
  }

  std::shared_ptr<Shared> shared_;
  Call request_;
  std::optional<Server> asked_;  // the last one
  int status_ = 0;
  bool retry_after_ = false, over_ = false;

 private:
  void after(int64_t ms) {
    wait_.start(ms, [weak = weak_from_this()] {
      if (auto self = weak.lock(); self && !self->over_) self->choose();
    });
  }

  void choose() {
    const auto choice = shared_->servers.choose(tried_, shared_->loop.now_ms());
    if (!choice) {
      if (!asked_) error_ = {Errc::unavailable, "no API server is known to this device", 0};
      return fail_with(error_);
    }
    if (choice->wait_ms > 0) return after(choice->wait_ms);
    asked_ = choice->server;
    sent_ = retry_after_ = false;
    status_ = 0;
    transmit();
  }

  std::set<Server> tried_;
  Error error_;
  bool sent_ = false;
  std::unique_ptr<http::Call> http_;
  loop::Timer wait_;
};

void RemoteClient::Asking::transmit() {
  http::ClientRequest r = shared_->request(*asked_);
  r.method = request_.method;
  r.target = target();
  r.headers.add("Accept", "application/json");
  if (!request_.body.empty()) r.headers.add("Content-Type", request_.content_type);
  r.body = request_.body;
  r.idle_timeout_ms = idle_ms();
  const auto with = [weak = weak_from_this()](auto f) {
    if (auto self = weak.lock(); self && !self->over_) f(*self);
  };
  http::CallEvents e;
  e.on_sent = [with] { with([](Asking& self) { self.sent_ = true; }); };
  e.on_response = [with](const http::MessageHead& head) {
    with([&head](Asking& self) { self.answer_begins(head.status, head.headers.has("Retry-After")); });
  };
  e.on_body = [with](std::string_view bytes) { with([bytes](Asking& self) { self.answer_goes_on(bytes); }); };
  e.on_end = [with](Result<> result) {
    with([&result](Asking& self) { result ? self.answer_complete() : self.lost(std::move(result).error()); });
  };
  http_ = shared_->http.send(std::move(r), std::move(e));
}

void RemoteClient::Asking::answer_complete() {
  if (status_ != 503) {
    shared_->answered(*asked_);
    return end_answer();
  }
  // Alone it may be asked again later by whoever wants to, with what it says.
  if ((get() || retry_after_) && next({Errc::unavailable, asked_->text() + " answered 503", 0})) return;
  if (!get() && !retry_after_) shared_->given_up(*asked_, {Errc::unavailable, "it answered 503", 0});
  if (!over_) end_answer();
}

void RemoteClient::Asking::lost(Error error) {
  const bool unknown = sent_ && !get();
  if (!unknown && !committed()) {
    if (next(error)) return;
  } else {
    shared_->given_up(*asked_, error);
    if (over_) return;
  }
  error.code = unknown ? Errc::timeout : Errc::unavailable;
  if (unknown) error.message += "; whether it was done is unknown";
  fail_with(std::move(error));
}

class RemoteClient::Calling final : public Asking {
 public:
  Calling(std::shared_ptr<Shared> shared, Call call, std::function<void(Result<Reply>)> done)
      : Asking(std::move(shared), std::move(call)), done_(std::move(done)) {}

 private:
  void begin_answer() override { body_.clear(); }
  Result<> body(std::string_view bytes) override {
    if (body_.size() + bytes.size() > shared_->options.max_answer_bytes) {
      return fail(Errc::too_large,
                  strf("the answer to %s %s has more than %zu bytes", request_.method.c_str(),
                       request_.path.c_str(), shared_->options.max_answer_bytes));
    }
    body_.append(bytes);
    return {};
  }
  void end_answer() override { finish(Reply{status_, std::move(body_)}); }
  void fail_with(Error error) override { finish(std::unexpected(std::move(error))); }
  int64_t idle_ms() const override { return shared_->options.answer_ms; }
  void finish(Result<Reply> r) {
    const auto self = shared_from_this();
    const auto done = std::move(done_);
    cancel();
    done(std::move(r));
  }

  std::function<void(Result<Reply>)> done_;
  std::string body_;
};

class RemoteClient::Streaming final : public Asking {
 public:
  Streaming(std::shared_ptr<Shared> shared, Call call, Client::Stream events)
      : Asking(std::move(shared), std::move(call)),
        events_(std::move(events)),
        lines_(shared_->options.max_event_bytes) {
    shared_->streams.insert(this);
  }
  ~Streaming() override { shared_->streams.erase(this); }
  void cancel() override {
    shared_->streams.erase(this);
    Asking::cancel();
  }
  // Events come, from this server.
  bool began() const { return began_ && !over_; }
  const Server& server() const { return *asked_; }
  void end(const std::string& why) {
    if (!over_) fail_with({Errc::unavailable, why, 0});
  }

 private:
  void begin_answer() override {
    refusal_.clear();
    if (status_ >= 400) return;
    began_ = true;
    shared_->answered(*asked_);
  }
  Result<> body(std::string_view bytes) override {
    if (status_ >= 400) {
      refusal_.append(bytes.substr(0, kMaxRefusalBytes - refusal_.size()));
      return {};
    }
    return lines_.add(bytes, [this](std::string_view line) {
      events_.on_event(line);
      return !over_;
    });
  }
  void end_answer() override {
    if (status_ >= 400) return fail_with(Reply{status_, std::move(refusal_)}.error());
    finish({});
  }
  void fail_with(Error error) override { finish(std::unexpected(std::move(error))); }
  void transmit() override {
    bundle_ = shared_->bundle_for(*asked_);
    if (!bundle_) return Asking::transmit();
    const auto with = [weak = weak_from_this()](auto f) {
      const auto self = std::static_pointer_cast<Streaming>(weak.lock());
      if (self && !self->over_) f(*self);
    };
    Bundle::Events e;
    e.on_head = [with](int status) {
      with([status](Streaming& self) {
        self.no_limit();
        self.answer_begins(status, false);
      });
    };
    e.on_data = [with](std::string_view bytes) {
      with([bytes](Streaming& self) { self.answer_goes_on(bytes); });
    };
    e.on_end = [with](Result<> r) {
      with([&r](Streaming& self) { r ? self.answer_complete() : self.lost(r.error()); });
    };
    e.on_unsupported = [with] {
      with([](Streaming& self) {
        self.no_limit();
        self.shared_->without_bundles.insert(*self.asked_);
        self.drop();
        self.Asking::transmit();
      });
    };
    id_ = bundle_->open(target(), std::move(e));
    limit(shared_->options.answer_ms, "waiting for a watch to begin");
  }
  void drop() override {
    Asking::drop();
    if (bundle_) bundle_->close(id_);
    bundle_.reset();
  }
  int64_t idle_ms() const override { return 0; }  // a watch is silent for as long as nothing happens
  bool committed() const override { return began_; }
  void finish(Result<> r) {
    const auto self = shared_from_this();
    const auto end = std::move(events_.on_end);
    cancel();
    end(std::move(r));
  }

  Client::Stream events_;
  Lines lines_;
  std::string refusal_;
  bool began_ = false;
  std::shared_ptr<Bundle> bundle_;
  uint32_t id_ = 0;  // in it
};

void RemoteClient::Shared::given_up(const Server& server, const Error& why) {
  // Once when it begins: a device may be cut off for days.
  if (last_error.empty())
    log::notice("the API server does not answer", {{"server", server.text()}, {"error", why}});
  last_error = why.message;
  // By TLS; the kernel may not permit a connection either.
  const bool out = why.code == Errc::unauthenticated || why.code == Errc::permission_denied;
  if (out && why.sys_errno == 0 && std::exchange(shut_out, why.message).empty() && on_shut_out) on_shut_out();
  servers.failed(server, loop.now_ms());
  http.drop_idle();
  bundles.erase(server);
  without_bundles.erase(server);  // it may be another version when it is back
  if (why.code == Errc::timeout) {
    end_streams([&](const Streaming& s) { return s.began() && s.server() == server; },
                server.text() + " does not answer any more");
  }
}

void RemoteClient::Shared::answered(const Server& server) {
  servers.worked(server);
  shut_out.clear();
  if (last_error.empty()) return;
  last_error.clear();
  log::notice("an API server answers again", {{"server", server.text()}});
}

std::shared_ptr<Bundle> RemoteClient::Shared::bundle_for(const Server& server) {
  if (without_bundles.contains(server)) return nullptr;
  std::shared_ptr<Bundle> bundle = bundles[server];
  if (!bundle || bundle->over()) bundle = Bundle::connect(http, request(server));
  bundles = {{server, bundle}};
  return bundle;
}

void RemoteClient::Shared::end_streams(const std::function<bool(const Streaming&)>& which,
                                       const std::string& why) {
  std::vector<std::weak_ptr<Asking>> affected;
  for (Streaming* s : streams) {
    if (which(*s)) affected.push_back(s->weak_from_this());
  }
  // In a turn of their own: whoever calls this is in the middle of something.
  loop.defer([affected = std::move(affected), why] {
    for (const auto& weak : affected) {
      if (auto s = std::static_pointer_cast<Streaming>(weak.lock())) s->end(why);
    }
  });
}

// What the caller holds.
class RemoteClient::Handle final : public Pending {
 public:
  explicit Handle(std::shared_ptr<Asking> asking) : asking_(std::move(asking)) { asking_->start(); }
  ~Handle() override { asking_->cancel(); }

 private:
  std::shared_ptr<Asking> asking_;
};

RemoteClient::RemoteClient(loop::Loop& loop, http::Dialer& dialer, Random& random, RemoteOptions options)
    : shared_(std::make_shared<Shared>(loop, dialer, random, std::move(options))) {}

RemoteClient::~RemoteClient() = default;

void RemoteClient::set_servers(const std::vector<Server>& configured, const std::vector<Server>& learned) {
  shared_->servers.replace(configured, learned);
  shared_->end_streams(
      [this](const Streaming& s) { return s.began() && !shared_->servers.knows(s.server()); },
      "the server has left the cluster");
}

std::string RemoteClient::server() const {
  const auto& s = shared_->servers.in_use();
  return s && shared_->last_error.empty() ? s->text() : "";
}

const std::string& RemoteClient::last_error() const { return shared_->last_error; }

const std::string& RemoteClient::shut_out() const { return shared_->shut_out; }

void RemoteClient::on_shut_out(std::function<void()> f) { shared_->on_shut_out = std::move(f); }

void RemoteClient::reconnect() {
  shared_->http.drop_idle();
  shared_->bundles.clear();
  shared_->end_streams([](const Streaming& s) { return s.began(); }, "the device's certificate was renewed");
}

std::unique_ptr<Pending> RemoteClient::call(Call call, std::function<void(Result<Reply>)> done) {
  return std::make_unique<Handle>(std::make_shared<Calling>(shared_, std::move(call), std::move(done)));
}

std::unique_ptr<Pending> RemoteClient::stream(Call call, Stream stream) {
  return std::make_unique<Handle>(std::make_shared<Streaming>(shared_, std::move(call), std::move(stream)));
}

int RemoteClient::list_page() const { return shared_->options.list_page; }

}  // namespace limpet::client
