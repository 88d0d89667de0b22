// A live copy of the objects of one resource (or a selection of them), in memory, fed by a Reflector.
//
// Objects are held as the bytes the API sent, keyed "namespace/name" (or "name"), shared with whoever asks;
// reading is done with json::Cursor. Handlers are told of each change in order; after a list that had to be
// repeated, the differences are told as adds, updates and deletes. Owned by the part that uses it; destroying
// it ends everything, also from inside a handler. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "client/reflector.h"

namespace limpet::client {

class Informer {
 public:
  using Options = Reflector::Options;
  struct Handlers {
    std::function<void(const std::string& key, const SharedBytes& object)> on_add;
    std::function<void(const std::string& key, const SharedBytes& old, const SharedBytes& object)> on_update;
    std::function<void(const std::string& key, const SharedBytes& last)> on_delete;
    std::function<void()> on_synced;  // once: the first list is in the cache and was told
  };

  Informer(loop::Loop& loop, Client& client, Random& random, Options options, Handlers handlers);
  ~Informer();
  Informer(const Informer&) = delete;

  void start();
  bool synced() const;
  SharedBytes get(std::string_view key) const;  // null when absent
  // In key order.
  void each(const std::function<void(const std::string& key, const SharedBytes& object)>& f) const;
  size_t size() const;
  const std::string& resource_version() const;
  // Why the connection is down at the moment; empty when it is not.
  const std::string& last_error() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::client
