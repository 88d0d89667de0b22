// What the shell of every controller is made of: the caches it looks at, the calls it makes, what it expects
// of them, and the driver that runs its syncs.
//
// A controller derives from it. Borrows what Context and Caches name; loop thread only.
#pragma once

#include <string>

#include "controllers/calls.h"
#include "controllers/controller.h"
#include "controllers/driver.h"
#include "controllers/expectations.h"

namespace limpet::controllers {

struct Shell : Controller {
  Context context;
  Caches& caches;
  Calls calls;
  Expectations expected;
  Driver driver;

  Shell(const Context& c, Caches& all, const char* name, Driver::Sync sync)
      : context(c), caches(all), calls(c.client), driver(c.timing, name, std::move(sync)) {}

  void start() override { driver.start(); }

  int64_t now_ms() { return context.timing.now_ms(); }

  // `key` waits until the cache that the controller calls `kind` shows what this answer says was written.
  void wrote(const std::string& key, int kind, const client::Reply& reply) {
    const int64_t version = version_of(reply);
    if (version == 0) return;
    expected.expect_version(key, kind, version, now_ms());
    driver.add_after(key, Expectations::kLongestMs);
  }
  // `key` waits until the cache no longer shows this object, which is gone.
  void removed(const std::string& key, const Object& object) {
    expected.expect_gone(key, object.key(), object.uid, now_ms());
    driver.add_after(key, Expectations::kLongestMs);
  }
};

}  // namespace limpet::controllers
