// POST serviceaccounts/NAME/token: a signed token for an account (TokenRequest).
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
#include "api/admission.h"
#include "api/body.h"
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

Outcome<> bind_to_pod(const Call& call, json::Ref reference, const Lookups& found, TokenSpec& spec) {
  if (spec.pod_name.empty()) return {};
  const schema::Resource* pods = schema::find_resource("", "v1", "pods");
  const store::Item* pod = found.find("pods/" + spec.ns + "/" + spec.pod_name);
  if (!pod || !pods) {
    return std::unexpected(pods ? status::not_found(*pods, spec.pod_name) : status::no_such_path());
  }
  Meta meta = read_meta(*pod->value);
  std::string_view uid = reference["uid"].str();
  if (!uid.empty() && uid != meta.uid) {
    return std::unexpected(status::conflict(*call.resource, spec.name,
                                            "the UID in the bound object reference (" + std::string(uid) +
                                                ") does not match the UID in record. The object "
                                                "might have been deleted and then recreated"));
  }
  std::string account = json::Cursor(*pod->value)["spec"]["serviceAccountName"].str("default");
  if (account != spec.name) {
    return std::unexpected(status::bad_request("cannot bind token for serviceaccount \"" + spec.name +
                                               "\" to pod running with different serviceaccount name."));
  }
  spec.pod_uid = meta.uid;
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
  if (spec["boundObjectRef"]["kind"].str() == "Pod") t.pod_name = spec["boundObjectRef"]["name"].str();
  std::string key = object_key(*call->resource, call->ns(), call->info.name);
  std::vector<std::string> keys{key};
  if (!t.pod_name.empty()) keys.push_back("pods/" + t.ns + "/" + t.pod_name);
  look_up(call->core, std::move(keys), [call, key, request, t](Outcome<Lookups> found) mutable {
    if (!found) return call->fail(found.error());
    const store::Item* account = found->find(key);
    if (!account) return call->fail(status::not_found(*call->resource, call->info.name));
    t.uid = read_meta(*account->value).uid;
    Outcome<> bound = bind_to_pod(*call, request->ref()["spec"]["boundObjectRef"], *found, t);
    if (!bound) return call->fail(bound.error());
    Result<IssuedToken> issued = call->core.options.identity.issue_token(t);
    if (!issued) return call->fail(status::from_error(issued.error()));
    call->respond(201, answer(*request, t, *issued, call->core.options, call->core.clock.wall()));
  });
}

}  // namespace limpet::api
