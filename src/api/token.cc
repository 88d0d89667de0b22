// POST serviceaccounts/NAME/token: a signed token for an account (TokenRequest).
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
#include "api/admission.h"
#include "api/body.h"
#include "api/node_restriction.h"
#include "api/object.h"
#include "api/subresources.h"

namespace limpet::api {
namespace {

constexpr int64_t kShortest = 600;
constexpr int64_t kLongest = 1ll << 32;

std::string answer(json::Value& request, const TokenSpec& spec, const IssuedToken& issued,
                   const Options& options, WallTime now) {
  json::Ref r = request.ref();
  json::Ref meta = r.ensure_object("metadata");
  meta.set("name", spec.name);
  meta.set("namespace", spec.ns);
  meta.set("creationTimestamp", rfc3339(now));
  json::Ref s = r.ensure_object("spec");
  s.set("expirationSeconds", spec.expiration_s);
  if (s["audiences"].size() == 0) s.ensure_array("audiences").push(json::Value::string(options.issuer));
  json::Ref st = r.set("status", json::Value::object());
  st.set("token", issued.token);
  st.set("expirationTimestamp", rfc3339({issued.expires_at, 0}));
  return r.dump();
}

// What a token can be bound to, beside its account.
struct Bindable {
  std::string_view kind;
  const char* plural;
  std::string TokenSpec::* name;
  std::string TokenSpec::* uid;
};
constexpr Bindable kBindables[] = {
    {"Pod", "pods", &TokenSpec::pod_name, &TokenSpec::pod_uid},
    {"Secret", "secrets", &TokenSpec::secret_name, &TokenSpec::secret_uid},
    {"Node", "nodes", &TokenSpec::node_name, &TokenSpec::node_uid},
};

struct Binding {
  const Bindable* what = nullptr;  // null: to nothing
  const schema::Resource* resource = nullptr;
  std::string key, name, uid;  // uid: as the client says, perhaps empty
};

Outcome<Binding> read_binding(json::Ref reference, const std::string& ns) {
  Binding b;
  if (!reference) return b;
  std::string_view version = reference["apiVersion"].str(), kind = reference["kind"].str();
  if (version.empty() || version == "v1") {
    for (const Bindable& one : kBindables) {
      if (one.kind == kind) b.what = &one;
    }
  }
  b.resource = b.what ? schema::find_resource("", "v1", b.what->plural) : nullptr;
  if (!b.resource) {
    std::string type = version.find('/') == std::string_view::npos ? "/" : "";
    return std::unexpected(status::bad_request("cannot bind token to object of type " + type +
                                               std::string(version) + ", Kind=" + std::string(kind)));
  }
  b.name = reference["name"].str();
  b.uid = reference["uid"].str();
  b.key = object_key(*b.resource, b.resource->namespaced() ? ns : std::string(), b.name);
  return b;
}

Outcome<> bind(const Binding& b, const Lookups& found, TokenSpec& spec) {
  if (!b.what) return {};
  const store::Item* object = found.find(b.key);
  if (!object) return std::unexpected(status::not_found(*b.resource, b.name));
  Meta meta = read_meta(*object->value);
  if (b.what->kind == "Pod") {
    std::string account = json::Cursor(*object->value)["spec"]["serviceAccountName"].str("default");
    if (account != spec.name) {
      return std::unexpected(status::bad_request("cannot bind token for serviceaccount \"" + spec.name +
                                                 "\" to pod running with different serviceaccount name."));
    }
  }
  if (!b.uid.empty() && b.uid != meta.uid) {
    return std::unexpected(status::conflict(*b.resource, b.name,
                                            "the UID in the bound object reference (" + b.uid +
                                                ") does not match the UID in record. The object "
                                                "might have been deleted and then recreated"));
  }
  spec.*b.what->name = b.name;
  spec.*b.what->uid = meta.uid;
  return {};
}

}  // namespace

void create_token(CallPtr call) {
  const schema::Type* type = schema::find_type("io.k8s.api.authentication.v1.TokenRequest");
  if (!type) return call->fail(status::no_such_path());
  if (!call->core.options.identity.issue_token) {
    return call->fail(status::from_error({Errc::unsupported, "this device signs no tokens"}));
  }
  Outcome<json::Value> body = decode_object(*call, *type, "authentication.k8s.io", "v1", "TokenRequest");
  if (!body) return call->fail(body.error());
  auto request = std::make_shared<json::Value>(std::move(*body));
  json::Ref spec = request->ref()["spec"];
  TokenSpec t;
  t.ns = call->info.ns;
  t.name = call->info.name;
  t.expiration_s = spec["expirationSeconds"].integer(3600);
  if (t.expiration_s < kShortest || t.expiration_s > kLongest) {
    return call->fail(status::invalid(
        "authentication.k8s.io", "TokenRequest", "",
        {{"FieldValueInvalid",
          "Invalid value: " + std::to_string(t.expiration_s) +
              (t.expiration_s < kShortest ? ": may not specify a duration less than 10 minutes"
                                          : ": may not specify a duration larger than 2^32 seconds"),
          "spec.expirationSeconds"}}));
  }
  for (json::Ref a : spec["audiences"]) t.audiences.emplace_back(a.str());
  Outcome<Binding> binding = read_binding(spec["boundObjectRef"], t.ns);
  if (!binding) return call->fail(binding.error());
  std::string key = object_key(*call->resource, call->ns(), call->info.name);
  std::vector<std::string> keys{key};
  if (binding->what) keys.push_back(binding->key);
  look_up(call->core, std::move(keys), [call, key, request, t, b = *binding](Outcome<Lookups> found) mutable {
    if (!found) return call->fail(found.error());
    const store::Item* account = found->find(key);
    if (!account) return call->fail(status::not_found(*call->resource, call->info.name));
    t.uid = read_meta(*account->value).uid;
    json::Ref reference = request->ref()["spec"]["boundObjectRef"];
    const store::Item* bound_to = b.what ? found->find(b.key) : nullptr;
    if (Outcome<> o = restrict_token(*call, reference, bound_to); !o) return call->fail(o.error());
    if (Outcome<> bound = bind(b, *found, t); !bound) return call->fail(bound.error());
    Result<IssuedToken> issued = call->core.options.identity.issue_token(t);
    if (!issued) return call->fail(status::from_error(issued.error()));
    call->respond(201, answer(*request, t, *issued, call->core.options, call->core.clock.wall()));
  });
}

}  // namespace limpet::api
