// What controllers keep of any object: its identity, whose it is, and its labels. The views of kinds add the
// few fields that their controllers read; whole objects are not kept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "schema/selector.h"

namespace limpet::controllers {

// The owner reference with controller: true.
struct ControllerRef {
  std::string api_version, kind, name, uid;
  bool none() const { return uid.empty(); }
};

struct Object {
  std::string ns, name, uid;
  int64_t version = 0;  // resourceVersion
  int64_t generation = 0;
  int64_t created_s = 0;  // Unix time
  bool deleting = false;
  ControllerRef controller;
  std::string labels;  // JSON as stored, empty when there are none

  // As client::object_key: what has no namespace has its name alone.
  std::string key() const { return ns.empty() ? name : ns + "/" + name; }
  bool matches(const schema::LabelSelector& selector) const {
    return selector.matches_labels(json::Cursor(labels));
  }
};

void read_object(json::Cursor object, Object& out);
int64_t read_version(std::string_view resource_version);
int64_t read_time(json::Cursor rfc3339);  // Unix time, 0 when absent

// Which objects belong to an owner with this selector, and what has to be done for that: objects that match
// and belong to nobody are adopted, objects of the owner that no longer match are released.
// https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions
enum class Claim { not_mine, mine, adopt, release };
Claim claim(const Object& owner, const schema::LabelSelector& selector, const Object& object);

}  // namespace limpet::controllers
