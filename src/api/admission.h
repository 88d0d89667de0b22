// Admission: what the cluster adds to an object or demands of it before it is stored, in process.
//
// A visible list of plugins (admission.cc). Each says which other objects it needs to see (their keys are
// read first) and then judges or changes the tree; so each is a pure function. Named after upstream's
// plugins: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/context.h"
#include "api/status.h"
#include "base/json.h"
#include "store/store.h"

namespace limpet::api {

struct Lookups {
  std::map<std::string, std::optional<store::Item>> items;
  // Null when absent (or not asked for).
  const store::Item* find(const std::string& key) const;
};

struct Admission {
  const Call& call;
  const schema::Resource& resource;
  std::string_view ns;
  bool create = false;
};

std::vector<std::string> admission_needs(const Admission& a, json::Ref object);
Outcome<> admit(const Admission& a, json::Ref object, json::Cursor old, const Lookups& lookups);

// Reads the keys, in the durable space.
void look_up(Core& core, std::vector<std::string> keys, std::function<void(Outcome<Lookups>)> done);

}  // namespace limpet::api
