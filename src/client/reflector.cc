#include "client/reflector.h"

#include <algorithm>
#include <utility>

namespace limpet::client {
namespace {

constexpr int64_t kFirstBackOffMs = 200;
constexpr int64_t kLongestBackOffMs = 30'000;

}  // namespace

std::string object_key(json::Cursor object) {
  json::Cursor meta = object["metadata"];
  std::string ns = meta["namespace"].str();
  std::string name = meta["name"].str();
  return ns.empty() ? name : ns + "/" + name;
}

struct Reflector::Impl : std::enable_shared_from_this<Impl> {
  Client& client;
  Random& random;
  Options options;
  Handlers handlers;
  loop::Timer retry;
  std::unique_ptr<Pending> pending;
  std::string version, error;
  int64_t back_off_ms = kFirstBackOffMs;
  bool stopped = false, expired = false;

  Impl(loop::Loop& l, Client& c, Random& r, Options o, Handlers h)
      : client(c), random(r), options(std::move(o)), handlers(std::move(h)), retry(l, "reflector") {}

  std::string query(std::string more) const {
    return options.query.empty() ? more : options.query + "&" + more;
  }

  // ---- list

  void list(const std::string& token) {
    if (token.empty()) handlers.on_list();
    Call call;
    call.path = options.path;
    call.query =
        query("limit=" + std::to_string(client.list_page()) + (token.empty() ? "" : "&continue=" + token));
    pending = client.call(std::move(call), [weak = weak_from_this()](Result<Reply> reply) {
      if (std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->on_page(std::move(reply));
    });
  }

  void on_page(Result<Reply> reply) {
    if (!reply) return again(reply.error());
    if (!reply->ok()) return again(reply->error());
    json::Cursor list(reply->body);
    list["items"].each([this](std::string_view, json::Cursor item) {
      handlers.on_item(item);
      return !stopped;
    });
    if (stopped) return;
    std::string token = list["metadata"]["continue"].str();
    if (!token.empty()) return this->list(token);
    version = list["metadata"]["resourceVersion"].str();
    handlers.on_listed();
    if (!stopped) watch();
  }

  // ---- watch

  void watch() {
    Call call;
    call.path = options.path;
    call.query = query("watch=true&allowWatchBookmarks=true&resourceVersion=" + version);
    expired = false;
    Client::Stream s;
    s.on_event = [weak = weak_from_this()](std::string_view text) {
      if (std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->on_event(text);
    };
    s.on_end = [weak = weak_from_this()](Result<> r) {
      if (std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->on_end(std::move(r));
    };
    pending = client.stream(std::move(call), std::move(s));
  }

  void on_event(std::string_view text) {
    json::Cursor event(text);
    json::Cursor object = event["object"];
    json::Cursor type = event["type"];
    if (type.str_equals("ERROR")) {
      expired = object["code"].integer() == 410;
      error = object["message"].str();
      return;
    }
    std::string rv = object["metadata"]["resourceVersion"].str();
    if (!rv.empty()) version = rv;
    back_off_ms = kFirstBackOffMs;
    error.clear();
    if (type.str_equals("ADDED") || type.str_equals("MODIFIED")) return handlers.on_put(object);
    if (type.str_equals("DELETED")) return handlers.on_delete(object);
  }

  void on_end(Result<> r) {
    if (r && !expired && error.empty()) {  // its time was over
      return after(static_cast<int64_t>(random.below(100)), false);
    }
    if (!r) {
      error = r.error().message;
      expired = expired || r.error().code == Errc::expired;
      // A version the server does not know yet: it was restored from an older state.
      if (r.error().code == Errc::timeout || r.error().code == Errc::invalid_argument) expired = true;
    }
    wait(expired);
  }

  // ---- time

  void again(const Error& e) {
    error = e.message;
    wait(true);
  }

  void wait(bool relist) {
    int64_t delay = back_off_ms / 2 + static_cast<int64_t>(random.below(static_cast<uint64_t>(back_off_ms)));
    back_off_ms = std::min(back_off_ms * 2, kLongestBackOffMs);
    after(delay, relist);
  }

  void after(int64_t delay_ms, bool relist) {
    retry.start(delay_ms, [weak = weak_from_this(), relist] {
      std::shared_ptr<Impl> self = weak.lock();
      if (!self || self->stopped) return;
      relist ? self->list("") : self->watch();
    });
  }
};

Reflector::Reflector(loop::Loop& loop, Client& client, Random& random, Options options, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, client, random, std::move(options), std::move(handlers))) {}

Reflector::~Reflector() {
  impl_->stopped = true;
  impl_->pending.reset();
  impl_->retry.stop();
}

void Reflector::start() { impl_->list(""); }
const std::string& Reflector::resource_version() const { return impl_->version; }
const std::string& Reflector::last_error() const { return impl_->error; }

}  // namespace limpet::client
