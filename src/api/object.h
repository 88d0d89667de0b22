// Stored objects as bytes: their keys, their canonical form, and how a resourceVersion gets into the output.
//
// A stored value is compact JSON that begins with kind, apiVersion and metadata and holds no resourceVersion:
// that is the mod_revision of its row, written into the text on the way out. So reads copy bytes and build no
// tree.
#pragma once

#include <string>
#include <string_view>

#include "api/negotiate.h"
#include "base/json.h"
#include "base/result.h"
#include "schema/types.h"
#include "store/store.h"

namespace limpet::api {

// "pods", "deployments.apps": the first part of the keys of a resource.
std::string key_root(const schema::Resource& r);
std::string object_key(const schema::Resource& r, std::string_view ns, std::string_view name);
// Of all objects, or of those in one namespace.
std::string key_prefix(const schema::Resource& r, std::string_view ns);

// "v1", "apps/v1"
std::string api_version(std::string_view group, std::string_view version);

// The bytes to store; takes resourceVersion out of the tree.
std::string canonical(const schema::Resource& r, json::Ref object);

// The object with its resourceVersion.
void append_object(std::string& out, std::string_view stored, store::Revision rv);
std::string with_version(std::string_view stored, store::Revision rv);
// {"kind":"PartialObjectMetadata",...}
void append_partial(std::string& out, std::string_view stored, store::Revision rv, std::string_view version);

// A resourceVersion as clients write it; "" and "0" give 0.
Result<store::Revision> parse_version(std::string_view text);

// A tree of a stored object with metadata.resourceVersion set, ready to be changed.
Result<json::Value> parse_stored(std::string_view stored, store::Revision rv);

// The same without whitespace differences: what the object is about.
struct Meta {
  std::string name, ns, uid;
  bool deleting = false;
};
Meta read_meta(std::string_view stored);

}  // namespace limpet::api
