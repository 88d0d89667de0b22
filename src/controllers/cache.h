// The objects of one kind as small typed views, kept up to date by a Reflector, found by key, by namespace
// and by the controller that owns them. Shared by all controllers; owned by the Manager.
//
// A view is made by `read(json::Cursor)`, derives from Object, and is immutable: a change makes a new one, so
// that whoever holds a pointer across a callback must take a copy. Listeners are told of each change after
// the cache shows it. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/reflector.h"
#include "controllers/object.h"

namespace limpet::controllers {

template <class View>
class Cache {
 public:
  // Either may be null, not both.
  using Listener = std::function<void(const View* old, const View* now)>;

  // `query`: selectors, encoded.
  Cache(loop::Loop& loop, client::Client& client, Random& random, std::string path,
        View (*read)(json::Cursor object), std::string query = "")
      : read_(read), reflector_(loop, client, random, {std::move(path), std::move(query)}, feed()) {}

  void listen(Listener f) { listeners_.push_back(std::move(f)); }
  void on_synced(std::function<void()> f) { synced_listener_ = std::move(f); }
  void start() { reflector_.start(); }
  bool synced() const { return synced_; }
  // All changes up to this version of the store are known.
  int64_t version() const { return version_; }
  size_t size() const { return views_.size(); }

  const View* get(const std::string& key) const {
    const auto it = views_.find(key);
    return it == views_.end() ? nullptr : it->second.get();
  }
  // In key order.
  template <class F>
  void each(F f) const {
    for (const auto& [key, view] : views_) f(*view);
  }
  std::vector<const View*> of_controller(const std::string& uid) const { return found(uid); }
  std::vector<const View*> orphans(const std::string& ns) const { return found("/" + ns); }
  std::vector<const View*> in_namespace(const std::string& ns) const {
    std::vector<const View*> out;
    const std::string prefix = ns + "/";
    for (auto it = views_.lower_bound(prefix); it != views_.end() && it->first.starts_with(prefix); ++it)
      out.push_back(it->second.get());
    return out;
  }

 private:
  client::Reflector::Handlers feed() {
    client::Reflector::Handlers f;
    f.on_list = [this] { listed_.clear(); };
    f.on_item = [this](json::Cursor object) {
      listed_.insert(client::object_key(object));
      put(object, false);  // pages are not in the order of versions
    };
    f.on_listed = [this] { finish_list(); };
    f.on_put = [this](json::Cursor object) { put(object, true); };
    f.on_delete = [this](json::Cursor object) {
      see(read_version(object["metadata"]["resourceVersion"].str()));
      remove(client::object_key(object));
    };
    return f;
  }

  static std::string index_of(const View& v) { return v.controller.none() ? "/" + v.ns : v.controller.uid; }

  std::vector<const View*> found(const std::string& index) const {
    std::vector<const View*> out;
    const auto it = index_.find(index);
    if (it == index_.end()) return out;
    for (const std::string& key : it->second) out.push_back(views_.at(key).get());
    return out;
  }

  void see(int64_t version) {
    if (version > version_) version_ = version;
  }

  void put(json::Cursor object, bool in_order) {
    auto now = std::make_unique<View>(read_(object));
    const std::string key = now->key();
    std::unique_ptr<View>& slot = views_[key];
    std::unique_ptr<View> old = std::exchange(slot, std::move(now));
    if (old) unindex(key, *old);
    index_[index_of(*slot)].insert(key);
    if (in_order) see(slot->version);
    if (old && old->version == slot->version) return;
    tell(old.get(), slot.get());
  }

  void remove(const std::string& key) {
    const auto it = views_.find(key);
    if (it == views_.end()) return;
    const std::unique_ptr<View> old = std::move(it->second);
    views_.erase(it);
    unindex(key, *old);
    tell(old.get(), nullptr);
  }

  void unindex(const std::string& key, const View& v) {
    const auto it = index_.find(index_of(v));
    if (it == index_.end()) return;
    it->second.erase(key);
    if (it->second.empty()) index_.erase(it);
  }

  // What was not in the list is gone.
  void finish_list() {
    std::vector<std::string> gone;
    for (const auto& [key, view] : views_) {
      if (!listed_.contains(key)) gone.push_back(key);
    }
    listed_.clear();
    version_ = read_version(reflector_.resource_version());
    for (const std::string& key : gone) remove(key);
    if (std::exchange(synced_, true)) return;
    if (synced_listener_) synced_listener_();
  }

  void tell(const View* old, const View* now) {
    for (const Listener& f : listeners_) f(old, now);
  }

  View (*read_)(json::Cursor);
  std::map<std::string, std::unique_ptr<View>> views_;
  std::map<std::string, std::set<std::string>> index_;  // controller's uid, or "/namespace" -> keys
  std::set<std::string> listed_;                        // by the list under way
  std::vector<Listener> listeners_;
  std::function<void()> synced_listener_;
  bool synced_ = false;
  int64_t version_ = 0;
  client::Reflector reflector_;
};

}  // namespace limpet::controllers
