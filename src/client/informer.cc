#include "client/informer.h"

#include <utility>

#include "base/json.h"

namespace limpet::client {

struct Informer::Impl : std::enable_shared_from_this<Impl> {
  using Cache = std::map<std::string, SharedBytes, std::less<>>;

  Handlers handlers;
  Cache cache;
  Cache fresh;  // a list under way
  bool synced = false, stopped = false;
  std::unique_ptr<Reflector> reflector;

  explicit Impl(Handlers h) : handlers(std::move(h)) {}

  Reflector::Handlers feed() {
    Reflector::Handlers f;
    f.on_list = [this] { fresh.clear(); };
    f.on_item = [this](json::Cursor item) {
      fresh.insert_or_assign(object_key(item), share(std::string(item.raw())));
    };
    f.on_listed = [this] { replace(); };
    f.on_put = [this](json::Cursor object) { put(object_key(object), share(std::string(object.raw()))); };
    f.on_delete = [this](json::Cursor object) { remove(object_key(object)); };
    return f;
  }

  // Tells the differences between what was known and what is.
  void replace() {
    const std::shared_ptr<Impl> self = shared_from_this();  // handlers may destroy the informer
    Cache before = std::exchange(cache, std::exchange(fresh, {}));
    Cache now = cache;
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

  void put(const std::string& key, SharedBytes object) {
    const std::shared_ptr<Impl> self = shared_from_this();
    SharedBytes& slot = cache[key];
    SharedBytes old = std::exchange(slot, object);
    if (!old) {
      if (handlers.on_add) handlers.on_add(key, object);
    } else if (*old != *object) {
      if (handlers.on_update) handlers.on_update(key, old, object);
    }
  }

  void remove(const std::string& key) {
    const std::shared_ptr<Impl> self = shared_from_this();
    auto it = cache.find(key);
    if (it == cache.end()) return;
    SharedBytes last = std::move(it->second);
    cache.erase(it);
    if (handlers.on_delete) handlers.on_delete(key, last);
  }
};

Informer::Informer(loop::Loop& loop, Client& client, Random& random, Options options, Handlers handlers)
    : impl_(std::make_shared<Impl>(std::move(handlers))) {
  impl_->reflector = std::make_unique<Reflector>(loop, client, random, std::move(options), impl_->feed());
}

Informer::~Informer() {
  impl_->stopped = true;
  impl_->reflector.reset();
}

void Informer::start() { impl_->reflector->start(); }
bool Informer::synced() const { return impl_->synced; }
size_t Informer::size() const { return impl_->cache.size(); }
const std::string& Informer::resource_version() const { return impl_->reflector->resource_version(); }
const std::string& Informer::last_error() const { return impl_->reflector->last_error(); }

SharedBytes Informer::get(std::string_view key) const {
  auto it = impl_->cache.find(key);
  return it == impl_->cache.end() ? nullptr : it->second;
}

void Informer::each(const std::function<void(const std::string&, const SharedBytes&)>& f) const {
  std::map<std::string, SharedBytes, std::less<>> now = impl_->cache;
  for (const auto& [key, object] : now) f(key, object);
}

}  // namespace limpet::client
