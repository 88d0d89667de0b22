#include "client/informer.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace limpet::client {
namespace {

constexpr int64_t kFirstBackOffMs = 200;
constexpr int64_t kLongestBackOffMs = 30'000;
constexpr int kListPage = 500;

std::string key_of(json::Cursor object) {
  json::Cursor meta = object["metadata"];
  std::string ns = meta["namespace"].str();
  std::string name = meta["name"].str();
  return ns.empty() ? name : ns + "/" + name;
}

}  // namespace

struct Informer::Impl : std::enable_shared_from_this<Impl> {
  using Cache = std::map<std::string, SharedBytes, std::less<>>;

  loop::Loop& loop;
  Client& client;
  Random& random;
  Options options;
  Handlers handlers;
  loop::Timer retry;
  std::unique_ptr<Pending> pending;
  Cache cache;
  Cache fresh;  // a list under way
  std::string version, error;
  int64_t back_off_ms = kFirstBackOffMs;
  bool synced = false, stopped = false, expired = false;

  Impl(loop::Loop& l, Client& c, Random& r, Options o, Handlers h)
      : loop(l), client(c), random(r), options(std::move(o)), handlers(std::move(h)), retry(l, "informer") {}

  std::string query(std::string more) const {
    return options.query.empty() ? more : options.query + "&" + more;
  }

  // ---- list

  void list(const std::string& token) {
    if (token.empty()) fresh.clear();
    Call call;
    call.path = options.path;
    call.query = query("limit=" + std::to_string(kListPage) + (token.empty() ? "" : "&continue=" + token));
    pending = client.call(std::move(call), [weak = weak_from_this()](Result<Reply> reply) {
      if (std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->on_list(std::move(reply));
    });
  }

  void on_list(Result<Reply> reply) {
    if (!reply) return again(reply.error());
    if (!reply->ok()) return again(reply->error());
    json::Cursor list(reply->body);
    list["items"].each([this](std::string_view, json::Cursor item) {
      fresh.insert_or_assign(key_of(item), share(std::string(item.raw())));
      return true;
    });
    std::string token = list["metadata"]["continue"].str();
    if (!token.empty()) return this->list(token);
    version = list["metadata"]["resourceVersion"].str();
    replace();
    if (!stopped) watch();
  }

  // Tells the differences between what was known and what is.
  void replace() {
    Cache before = std::exchange(cache, std::exchange(fresh, {}));
    Cache now = cache;  // handlers may destroy the informer
    for (const auto& [key, last] : before) {
      if (now.contains(key)) continue;
      if (handlers.on_delete) handlers.on_delete(key, last);
      if (stopped) return;
    }
    for (const auto& [key, object] : now) {
      auto old = before.find(key);
      if (old == before.end()) {
        if (handlers.on_add) handlers.on_add(key, object);
      } else if (*old->second != *object) {
        if (handlers.on_update) handlers.on_update(key, old->second, object);
      }
      if (stopped) return;
    }
    if (std::exchange(synced, true)) return;
    if (handlers.on_synced) handlers.on_synced();
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
    std::string type = event["type"].str();
    if (type == "ERROR") {
      expired = object["code"].integer() == 410;
      error = object["message"].str();
      return;
    }
    std::string rv = object["metadata"]["resourceVersion"].str();
    if (!rv.empty()) version = rv;
    back_off_ms = kFirstBackOffMs;
    error.clear();
    if (type == "ADDED" || type == "MODIFIED") return put(key_of(object), share(std::string(object.raw())));
    if (type == "DELETED") return remove(key_of(object));
  }

  void put(std::string key, SharedBytes object) {
    SharedBytes& slot = cache[key];
    SharedBytes old = std::exchange(slot, object);
    if (!old) {
      if (handlers.on_add) handlers.on_add(key, object);
    } else if (*old != *object) {
      if (handlers.on_update) handlers.on_update(key, old, object);
    }
  }

  void remove(const std::string& key) {
    auto it = cache.find(key);
    if (it == cache.end()) return;
    SharedBytes last = std::move(it->second);
    cache.erase(it);
    if (handlers.on_delete) handlers.on_delete(key, last);
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

Informer::Informer(loop::Loop& loop, Client& client, Random& random, Options options, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, client, random, std::move(options), std::move(handlers))) {}

Informer::~Informer() {
  impl_->stopped = true;
  impl_->pending.reset();
  impl_->retry.stop();
}

void Informer::start() { impl_->list(""); }
bool Informer::synced() const { return impl_->synced; }
size_t Informer::size() const { return impl_->cache.size(); }
const std::string& Informer::resource_version() const { return impl_->version; }
const std::string& Informer::last_error() const { return impl_->error; }

SharedBytes Informer::get(std::string_view key) const {
  auto it = impl_->cache.find(key);
  return it == impl_->cache.end() ? nullptr : it->second;
}

void Informer::each(const std::function<void(const std::string&, const SharedBytes&)>& f) const {
  std::map<std::string, SharedBytes, std::less<>> now = impl_->cache;
  for (const auto& [key, object] : now) f(key, object);
}

}  // namespace limpet::client
