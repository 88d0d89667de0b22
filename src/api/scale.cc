// The scale subresource: how many replicas an object has, as a Scale of autoscaling/v1, whatever its own
// kind. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/ (Scale)
#include "api/body.h"
#include "api/fresh.h"
#include "api/object.h"
#include "api/subresources.h"
#include "api/write.h"
#include "schema/selector.h"

namespace limpet::api {
namespace {

constexpr std::string_view kVersion = "autoscaling/v1";

const schema::Type& scale_type() {
  static const schema::Type* const type = schema::find_type("io.k8s.api.autoscaling.v1.Scale");
  return *type;
}

std::string scale_of(std::string_view stored, store::Revision rv) {
  const json::Cursor object(stored), meta = object["metadata"];
  json::Writer w;
  w.begin_object().field("kind", "Scale").field("apiVersion", kVersion).key("metadata").begin_object();
  for (const char* k : {"name", "namespace", "uid"}) w.field(k, meta[k].str());
  if (rv > 0) w.field("resourceVersion", std::to_string(rv));
  w.field("creationTimestamp", meta["creationTimestamp"].str()).end_object();
  w.key("spec").begin_object();
  if (const int64_t wanted = object["spec"]["replicas"].integer()) w.field("replicas", wanted);
  w.end_object().key("status").begin_object();
  w.field("replicas", object["status"]["replicas"].integer());
  const Result<schema::LabelSelector> selector =
      schema::LabelSelector::from_object(object["spec"]["selector"]);
  if (selector && !selector->empty()) w.field("selector", selector->str());
  w.end_object().end_object();
  return w.take();
}

void answer_scale(const CallPtr& call, std::string_view stored, store::Revision rv, bool) {
  call->respond(200, scale_of(stored, rv));
}

// The object with the replicas of the new scale; version and uid that it names are conditions.
Outcome<json::Value> scaled(const Call& call, json::Value object, json::Ref scale) {
  const int64_t replicas = scale["spec"]["replicas"].integer();
  if (replicas < 0) {
    return std::unexpected(status::invalid(
        "autoscaling", "Scale", call.info.name,
        {{"FieldValueInvalid",
          "Invalid value: " + std::to_string(replicas) + ": must be greater than or equal to 0",
          "spec.replicas"}}));
  }
  json::Ref meta = object.ref()["metadata"];
  for (const char* k : {"resourceVersion", "uid"}) {
    const std::string_view given = scale["metadata"][k].str();
    if (given.empty()) {
      meta.remove(k);
    } else {
      meta.set(k, given);
    }
  }
  object.ref().ensure_object("spec").set("replicas", replicas);
  return object;
}

// `make` gives the new scale from the present one.
void change_scale(CallPtr call, std::function<Outcome<json::Value>(json::Value now)> make) {
  Update u;
  u.key = object_key(*call->resource, call->ns(), call->info.name);
  u.answer = answer_scale;
  Call* raw = call.get();  // the Updater holds the call as long as it may ask
  u.make = [raw, make = std::move(make)](const store::Item* current) -> Outcome<json::Value> {
    Result<json::Value> object = parse_stored(*current->value, current->mod_revision);
    if (!object) return std::unexpected(status::from_error(object.error()));
    Result<json::Value> now = json::parse(scale_of(*current->value, current->mod_revision));
    if (!now) return std::unexpected(status::from_error(now.error()));
    Outcome<json::Value> scale = make(std::move(*now));
    if (!scale) return std::unexpected(scale.error());
    return scaled(*raw, std::move(*object), scale->ref());
  };
  run_update(std::move(call), std::move(u));
}

// An applied scale claims spec.replicas of the object.
void apply_scale(CallPtr call, json::Ref body) {
  const schema::Resource& r = *call->resource;
  if (body["kind"].str() != "Scale" || body["apiVersion"].str() != kVersion) {
    return call->fail(
        status::bad_request("apiVersion and kind of the applied object must be autoscaling/v1, Scale"));
  }
  json::Value applied = json::Value::object();
  json::Ref object = applied.ref();
  object.set("apiVersion", api_version(r.group(), r.version()));
  object.set("kind", r.kind());
  json::Ref meta = object.ensure_object("metadata");
  meta.set("name", call->info.name);
  meta.set("resourceVersion", body["metadata"]["resourceVersion"].str());
  if (json::Ref replicas = body["spec"]["replicas"]) {
    object.ensure_object("spec").set("replicas", replicas.clone());
  }
  Update u;
  u.key = object_key(r, call->ns(), call->info.name);
  u.answer = answer_scale;
  run_apply(std::move(call), std::move(applied), std::move(u));
}

}  // namespace

void get_scale(CallPtr call) {
  const schema::Resource& r = *call->resource;
  std::string_view text = call->query().get("resourceVersion");
  Result<store::Revision> rv = parse_version(text);
  if (!rv) return call->fail(status::bad_request(rv.error().message));
  when_fresh(call, !text.empty(), *rv, [call, &r] {
    call->core.space(r).get(object_key(r, call->ns(), call->info.name),
                            [call](Result<std::optional<store::Item>> got) {
                              if (!got) return call->fail(status::from_error(got.error()));
                              if (!*got)
                                return call->fail(status::not_found(*call->resource, call->info.name));
                              answer_scale(call, *(*got)->value, (*got)->mod_revision, false);
                            });
  });
}

void update_scale(CallPtr call) {
  Outcome<json::Value> scale = decode_object(*call, scale_type(), "autoscaling", "v1", "Scale");
  if (!scale) return call->fail(scale.error());
  if (Outcome<> o = check_address(*call, scale->ref(), true); !o) return call->fail(o.error());
  auto body = std::make_shared<json::Value>(std::move(*scale));
  change_scale(std::move(call), [body](json::Value) -> Outcome<json::Value> { return body->clone(); });
}

void patch_scale(CallPtr call) {
  Outcome<PatchForm> form = patch_form(call->request());
  if (!form) return call->fail(form.error());
  Outcome<json::Value> patch = parse_patch(*call, *form);
  if (!patch) return call->fail(patch.error());
  if (*form == PatchForm::apply) return apply_scale(std::move(call), patch->ref());
  auto shared = std::make_shared<json::Value>(std::move(*patch));
  Call* raw = call.get();
  change_scale(std::move(call), [raw, shared, f = *form](json::Value now) -> Outcome<json::Value> {
    Outcome<json::Value> out = patched(*raw, f, scale_type(), std::move(now), shared->ref());
    if (!out) return std::unexpected(out.error());
    if (Outcome<> o = check_address(*raw, out->ref(), true); !o) return std::unexpected(o.error());
    return out;
  });
}

}  // namespace limpet::api
