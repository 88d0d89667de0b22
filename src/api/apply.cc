// Server-side apply: the body is all that its sender wants; who owns which field decides what becomes of the
// rest.
#include "schema/apply.h"
#include "api/body.h"
#include "api/object.h"
#include "api/verbs.h"
#include "api/write.h"

namespace limpet::api {
namespace {

Status refused(const Call& call, const schema::ApplyFailure& f) {
  if (f.conflicts.empty()) return status::from_error(f.error);
  const schema::Resource& r = *call.resource;
  std::string m =
      strf("Apply failed with %zu conflict%s: ", f.conflicts.size(), f.conflicts.size() == 1 ? "" : "s");
  if (f.conflicts.size() == 1) {
    m += f.conflicts[0].message + ": " + f.conflicts[0].field;
  } else {
    std::string_view last;
    for (const schema::ApplyConflict& c : f.conflicts) {
      if (c.message != last) {
        if (!last.empty()) m += '\n';
        std::string text = c.message;
        if (text.starts_with("conflict with")) text.replace(0, 8, "conflicts");
        m += text + ":";
        last = c.message;
      }
      m += "\n- " + c.field;
    }
  }
  Status s = status::conflict(r, call.info.name, "");
  s.message = std::move(m);
  for (const schema::ApplyConflict& c : f.conflicts)
    s.causes.push_back({"FieldManagerConflict", c.message, c.field});
  return s;
}

Outcome<> check(Call& call, json::Value& applied) {
  json::Ref body = applied.ref();
  if (!body.is_object()) return std::unexpected(status::bad_request("the request body is not an object"));
  const schema::Resource& r = *call.resource;
  std::string version = api_version(r.group(), r.version());
  if (body["apiVersion"].str() != version || body["kind"].str() != r.kind()) {
    return std::unexpected(status::bad_request("apiVersion and kind of the applied object must be " +
                                               version + ", " + std::string(r.kind())));
  }
  if (call.query().get("fieldManager").empty()) {
    return std::unexpected(status::invalid(
        "meta.k8s.io", "PatchOptions", "",
        {{"FieldValueRequired", "Required value: is required for apply patch", "fieldManager"}}));
  }
  if (body["metadata"]["managedFields"].size() > 0) {
    return std::unexpected(status::bad_request("metadata.managedFields must be nil"));
  }
  if (Outcome<> o = check_size(body); !o) return o;
  if (Outcome<> o = check_patched(call, *r.type(), applied); !o) return o;
  // Without a name it may be merged with an object that has one; only that tells (run_apply).
  return check_address(call, body, !body["metadata"]["name"].str().empty());
}

}  // namespace

void apply_object(CallPtr call, json::Value body) {
  if (Outcome<> o = check(*call, body); !o) return call->fail(o.error());
  Update u;
  u.part = part_of(call->info.subresource);
  u.key = object_key(*call->resource, call->ns(), call->info.name);
  u.create_if_absent = call->info.subresource.empty();
  run_apply(std::move(call), std::move(body), std::move(u));
}

void run_apply(CallPtr call, json::Value body, Update u) {
  json::Ref meta = body.ref()["metadata"];
  std::string version(meta["resourceVersion"].str());
  meta.remove("resourceVersion");
  u.track = false;
  bool force = truthy(call->query(), "force");
  auto applied = std::make_shared<json::Value>(std::move(body));
  Call* raw = call.get();  // the Updater holds the call as long as it may ask
  u.make = [raw, applied, version, force](const store::Item* current) -> Outcome<json::Value> {
    const schema::Resource& res = *raw->resource;
    json::Value wanted = applied->clone(), live;
    if (current) {
      wanted.ref()["metadata"].set("name", raw->info.name);
    } else if (Outcome<> o = check_address(*raw, wanted.ref(), true); !o) {
      return std::unexpected(o.error());
    }
    if (current) {
      Result<json::Value> parsed = parse_stored(*current->value, current->mod_revision);
      if (!parsed) return std::unexpected(status::from_error(parsed.error()));
      live = std::move(*parsed);
    }
    if (!version.empty() && (!current || version != std::to_string(current->mod_revision))) {
      return std::unexpected(status::modified(res, raw->info.name));
    }
    schema::FieldManager manager{field_manager(*raw), api_version(res.group(), res.version()),
                                 raw->info.subresource};
    std::expected<json::Value, schema::ApplyFailure> out =
        schema::apply(*res.type(), live.ref(), std::move(wanted), manager, force, raw->core.clock.wall());
    if (!out) return std::unexpected(refused(*raw, out.error()));
    return std::move(*out);
  };
  run_update(std::move(call), std::move(u));
}

}  // namespace limpet::api
