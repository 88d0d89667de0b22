// PATCH: the current object, changed as the body says, then written like an update.
#include "api/body.h"
#include "api/object.h"
#include "api/verbs.h"
#include "api/write.h"
#include "schema/patch_json.h"
#include "schema/patch_merge.h"
#include "schema/patch_strategic.h"

namespace limpet::api {
namespace {

constexpr std::string_view kPatchTypes =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
    "application/apply-patch+yaml";

enum class Kind { json, merge, strategic, apply };

Outcome<Kind> patch_kind(const http::Request& request) {
  std::optional<MediaType> m = parse_media_type(request.headers.get("Content-Type"));
  std::string_view type = m ? std::string_view(m->type) : std::string_view();
  if (type == "application/json-patch+json") return Kind::json;
  if (type == "application/merge-patch+json") return Kind::merge;
  if (type == "application/strategic-merge-patch+json") return Kind::strategic;
  if (type == "application/apply-patch+yaml") return Kind::apply;
  return std::unexpected(status::unsupported_media_type(kPatchTypes));
}

Status patch_error(const Call& call, Kind kind, const Error& e) {
  // A test that fails or a path that is not there: upstream says no more than this.
  if (kind == Kind::json && e.code == Errc::conflict) {
    Status s = status::bad_request("the server rejected our request due to an error in our request");
    s.code = 422;
    s.reason = "Invalid";
    return s;
  }
  if (e.code == Errc::conflict) {
    return status::invalid(call.resource->group(), call.resource->kind(), call.info.name,
                           {{"FieldValueInvalid", "Invalid value: " + e.message, "patch"}});
  }
  return status::from_error(e);
}

Outcome<json::Value> apply(Call& call, Kind kind, json::Value object, json::Ref patch) {
  const schema::Type& type = *call.resource->type();
  Result<json::Value> out;
  switch (kind) {
    case Kind::json:
      out = schema::apply_json_patch(std::move(object), patch);
      break;
    case Kind::merge:
      out = schema::apply_merge_patch(std::move(object), patch);
      break;
    default:
      out = schema::apply_strategic_patch(std::move(object), patch, type);
      break;
  }
  if (!out) return std::unexpected(patch_error(call, kind, out.error()));
  if (!out->ref().is_object()) return std::unexpected(status::bad_request("the patch leaves no object"));
  // What is not a field of the type is told apart from what the stored object had: that holds known fields
  // only.
  if (Outcome<> o = check_patched(call, type, *out); !o) return std::unexpected(o.error());
  if (Outcome<> o = check_address(call, out->ref(), true); !o) return std::unexpected(o.error());
  json::Ref after = out->ref();
  after.set("apiVersion", api_version(call.resource->group(), call.resource->version()));
  after.set("kind", call.resource->kind());
  return std::move(*out);
}

}  // namespace

void patch_object(CallPtr call) {
  Outcome<Kind> kind = patch_kind(call->request());
  if (!kind) return call->fail(kind.error());
  if (*kind == Kind::apply) return apply_object(std::move(call));
  Outcome<json::Value> patch = parse_tree(call->request().body, false);
  if (!patch) return call->fail(patch.error());
  if (*kind != Kind::json && !patch->ref().is_object()) {
    return call->fail(status::bad_request("error decoding patch: it must be an object"));
  }
  Update u;
  u.part = part_of(call->info.subresource);
  u.key = object_key(*call->resource, call->ns(), call->info.name);
  auto shared = std::make_shared<json::Value>(std::move(*patch));
  Call* raw = call.get();  // the Updater holds the call as long as it may ask
  u.make = [raw, shared, k = *kind](const store::Item* current) -> Outcome<json::Value> {
    Result<json::Value> object = parse_stored(*current->value, current->mod_revision);
    if (!object) return std::unexpected(status::from_error(object.error()));
    return apply(*raw, k, std::move(*object), shared->ref());
  };
  run_update(std::move(call), std::move(u));
}

}  // namespace limpet::api
