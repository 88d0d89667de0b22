// List and watch of one resource (or a selection of it), kept going: what a cache is fed with. It holds no
// objects.
//
// After a lost watch it goes on from where it was, and lists again when that is too long ago (410): the
// receiver then gets everything there is and drops what it was not told of. Objects are borrowed for the time
// of the call. Owned by the part that uses it; destroying it ends everything, also from inside a handler.
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/random.h"
#include "client/client.h"
#include "loop/loop.h"

namespace limpet::client {

// "namespace/name", or "name" for what has no namespace.
std::string object_key(json::Cursor object);

class Reflector {
 public:
  struct Options {
    std::string path;   // of the collection: "/api/v1/pods", "/api/v1/namespaces/default/configmaps"
    std::string query;  // selectors, encoded: "fieldSelector=spec.nodeName%3Dedge-1"
  };
  struct Handlers {
    std::function<void()> on_list;                     // a list begins, also again after one that broke off
    std::function<void(json::Cursor object)> on_item;  // one of the list
    std::function<void()> on_listed;                   // that was all
    std::function<void(json::Cursor object)> on_put, on_delete;
  };

  Reflector(loop::Loop& loop, Client& client, Random& random, Options options, Handlers handlers);
  ~Reflector();
  Reflector(const Reflector&) = delete;

  void start();
  // Everything up to this version was told.
  const std::string& resource_version() const;
  // Why the connection is down at the moment; empty when it is not.
  const std::string& last_error() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::client
