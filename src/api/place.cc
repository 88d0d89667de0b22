#include "api/place.h"

#include <algorithm>
#include <iterator>

#include "api/node_authz.h"

namespace limpet::api {
namespace {

bool is_one_of(std::string_view what, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

}  // namespace

bool mutating(const RequestInfo& i) {
  return i.is_resource && is_one_of(i.verb, {"create", "update", "patch", "delete", "deletecollection"});
}

Place place_of(const RequestInfo& i) {
  if (i.path == kHeartbeatPath) return Place::leader_memory;
  if (!i.is_resource || i.malformed) return Place::here;
  const schema::Resource* r = schema::find_resource(i.group, i.version, i.resource);
  if (!r) return Place::here;
  if (r->storage() == schema::Storage::none)
    return r->plural() == "tokenreviews" ? Place::here_newest : Place::here;
  if (is_one_of(i.subresource, {"log", "exec", "attach", "portforward", "proxy", "token"}))
    return Place::here_newest;
  if (r->storage() == schema::Storage::transient)
    return i.read_only() || mutating(i) ? Place::leader_memory : Place::here;
  return mutating(i) ? Place::leader : Place::here;
}

}  // namespace limpet::api
