// PATCH: the current object, changed as the body says, then written like an update.
#include "api/body.h"
#include "api/object.h"
#include "api/verbs.h"
#include "api/write.h"
#include "schema/codec.h"
#include "schema/patch_json.h"
#include "schema/patch_merge.h"
#include "schema/patch_strategic.h"

namespace limpet::api {
namespace {

constexpr std::string_view kPatchTypes =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
    "application/apply-patch+yaml";

Status patch_error(const Call& call, PatchForm form, const Error& e) {
  // A test that fails or a path that is not there: upstream says no more than this.
  if (form == PatchForm::json && e.code == Errc::conflict) {
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

// Of an object that a JSON or merge patch made, upstream's decoder asks its kind: without one it takes the
// one that it expects, without apiVersion it finds nothing that it knows, and another one does not fit. A
// strategic patch goes by the type alone.
Outcome<> check_kind(const Call& call, json::Ref object, const std::string& version,
                     const std::string& kind) {
  auto misfit = [&call](json::Ref value, const std::string& why) {
    return std::unexpected(status::invalid(
        call.resource->group(), call.resource->kind(), call.info.name,
        {{"FieldValueInvalid", "Invalid value: " + json::quoted(value.dump().substr(0, 64)) + ": " + why,
          "patch"}}));
  };
  json::Ref v = object["apiVersion"], k = object["kind"];
  if (!v || v.is_null() || (v.is_string() && v.str().empty()))
    return std::unexpected(status::bad_request("the patch leaves an object whose apiVersion is missing"));
  if (v.str() != version) return misfit(v, "the object's apiVersion is " + version);
  const bool kept = !k || k.is_null() || (k.is_string() && (k.str().empty() || k.str() == kind));
  if (!kept) return misfit(k, "the object's kind is " + kind);
  object.set("kind", kind);
  return {};
}

}  // namespace

Outcome<PatchForm> patch_form(const http::Request& request) {
  std::optional<MediaType> m = parse_media_type(request.headers.get("Content-Type"));
  std::string_view type = m ? std::string_view(m->type) : std::string_view();
  if (type == "application/json-patch+json") return PatchForm::json;
  if (type == "application/merge-patch+json") return PatchForm::merge;
  if (type == "application/strategic-merge-patch+json") return PatchForm::strategic;
  if (type == "application/apply-patch+yaml") return PatchForm::apply;
  return std::unexpected(status::unsupported_media_type(kPatchTypes));
}

Outcome<json::Value> parse_patch(const Call& call, PatchForm form) {
  const std::string& body = call.request().body;
  const size_t first = body.find_first_not_of(" \t\r\n");
  // JSON is YAML, and what clients send.
  const bool yaml = form == PatchForm::apply && (first == std::string::npos || body[first] != '{');
  // Ten thousand operations, which upstream allows, are more values than an object may hold.
  const size_t most = form == PatchForm::json ? 2 * schema::kMaxValues : schema::kMaxValues;
  Outcome<json::Value> patch = parse_tree(body, yaml, most);
  if (!patch) return patch;
  if (form == PatchForm::apply && !patch->ref().is_object()) {
    return std::unexpected(status::bad_request("the request body is not an object"));
  }
  if (form != PatchForm::json && !patch->ref().is_object()) {
    return std::unexpected(status::bad_request("error decoding patch: it must be an object"));
  }
  return patch;
}

Outcome<json::Value> patched(Call& call, PatchForm form, const schema::Type& type, json::Value object,
                             json::Ref patch) {
  Result<json::Value> out;
  const std::string version(object.ref()["apiVersion"].str()), kind(object.ref()["kind"].str());
  switch (form) {
    case PatchForm::json:
      out = schema::apply_json_patch(std::move(object), patch);
      break;
    case PatchForm::merge:
      out = schema::apply_merge_patch(std::move(object), patch);
      break;
    default:
      out = schema::apply_strategic_patch(std::move(object), patch, type);
      break;
  }
  if (!out) return std::unexpected(patch_error(call, form, out.error()));
  if (!out->ref().is_object()) return std::unexpected(status::bad_request("the patch leaves no object"));
  if (form == PatchForm::json || form == PatchForm::merge) {
    if (Outcome<> o = check_kind(call, out->ref(), version, kind); !o) return std::unexpected(o.error());
  }
  // What is not a field of the type is told apart from what the stored object had: that holds known fields
  // only.
  if (Outcome<> o = check_patched(call, type, *out); !o) return std::unexpected(o.error());
  return std::move(*out);
}

void patch_object(CallPtr call) {
  Outcome<PatchForm> form = patch_form(call->request());
  if (!form) return call->fail(form.error());
  Outcome<json::Value> patch = parse_patch(*call, *form);
  if (!patch) return call->fail(patch.error());
  if (*form == PatchForm::apply) return apply_object(std::move(call), std::move(*patch));
  Update u;
  u.part = part_of(call->info.subresource);
  u.key = object_key(*call->resource, call->ns(), call->info.name);
  auto shared = std::make_shared<json::Value>(std::move(*patch));
  Call* raw = call.get();  // the Updater holds the call as long as it may ask
  u.make = [raw, shared, f = *form](const store::Item* current) -> Outcome<json::Value> {
    Result<json::Value> object = parse_stored(*current->value, current->mod_revision);
    if (!object) return std::unexpected(status::from_error(object.error()));
    const schema::Resource& r = *raw->resource;
    Outcome<json::Value> out = patched(*raw, f, *r.type(), std::move(*object), shared->ref());
    if (!out) return out;
    if (Outcome<> o = check_address(*raw, out->ref(), true); !o) return std::unexpected(o.error());
    json::Ref after = out->ref();
    after.set("apiVersion", api_version(r.group(), r.version()));
    after.set("kind", r.kind());
    return out;
  };
  run_update(std::move(call), std::move(u));
}

}  // namespace limpet::api
