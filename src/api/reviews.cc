// Kinds that are questions: answered at once and kept nowhere. Who am I, may I, may they, is this token good.
#include "api/authz.h"
#include "api/body.h"
#include "api/node_authz.h"
#include "api/node_graph_feed.h"
#include "api/object.h"
#include "api/subresources.h"
#include "api/token_bound.h"
#include "api/write.h"

namespace limpet::api {
namespace {

void write_user(json::Ref to, const User& u, const char* name_key) {
  if (!u.name.empty()) to.set(name_key, u.name);
  if (!u.uid.empty()) to.set("uid", u.uid);
  if (!u.groups.empty()) {
    json::Ref groups = to.ensure_array("groups");
    for (const std::string& g : u.groups) groups.push(json::Value::string(g));
  }
  if (u.extra.empty()) return;
  json::Ref extra = to.ensure_object("extra");
  for (const auto& [k, values] : u.extra) {
    json::Ref list = extra.ensure_array(k);
    for (const std::string& v : values) list.push(json::Value::string(v));
  }
}

// A field selector of a review as a query would say it. Requirements that it cannot say are left out: what
// narrows less allows less.
std::string selector_text(json::Ref selector) {
  std::string out(selector["rawSelector"].str());
  for (json::Ref r : selector["requirements"]) {
    const std::string value(r["values"].at(0).str());
    if (r["operator"].str() != "In" || r["values"].size() != 1 ||
        value.find_first_of(",=\\") != std::string::npos)
      continue;
    out.append(out.empty() ? "" : ",").append(r["key"].str()).append("=").append(value);
  }
  return out;
}

// The request that a SubjectAccessReview asks about.
RequestInfo asked(json::Ref spec) {
  RequestInfo i;
  if (json::Ref a = spec["resourceAttributes"]) {
    i.is_resource = true;
    i.verb = a["verb"].str();
    i.group = a["group"].str();
    i.version = a["version"].str();
    i.resource = a["resource"].str();
    i.subresource = a["subresource"].str();
    i.ns = a["namespace"].str();
    i.name = a["name"].str();
    i.field_selector = selector_text(a["fieldSelector"]);
  } else {
    i.verb = spec["nonResourceAttributes"]["verb"].str();
    i.path = spec["nonResourceAttributes"]["path"].str();
  }
  return i;
}

void answer_access(const Call& call, json::Ref review, const User& user) {
  Decision d = authorize(user, asked(review["spec"]), call.core.node_graph->graph());
  json::Ref s = review.set("status", json::Value::object());
  s.set("allowed", d.allowed());
  if (d.allowed()) return;
  s.set("reason", d.reason.empty() ? "only members of system:masters may do this here" : d.reason);
}

void subject_access(const Call& call, json::Ref review) {
  json::Ref spec = review["spec"];
  User u;
  u.name = spec["user"].str();
  for (json::Ref g : spec["groups"]) u.groups.emplace_back(g.str());
  answer_access(call, review, u);
}

void self_access(const Call& call, json::Ref review) { answer_access(call, review, call.user); }

void rule(json::Ref rules, std::initializer_list<const char*> verbs, const char* list_key, const char* what) {
  json::Ref r = rules.push(json::Value::object());
  json::Ref v = r.ensure_array("verbs");
  for (const char* verb : verbs) v.push(json::Value::string(verb));
  if (std::string_view(list_key) == "resources") r.ensure_array("apiGroups").push(json::Value::string("*"));
  r.ensure_array(list_key).push(json::Value::string(what));
}

void self_rules(const Call& call, json::Ref review) {
  json::Ref s = review.set("status", json::Value::object());
  json::Ref resources = s.ensure_array("resourceRules"), others = s.ensure_array("nonResourceRules");
  s.set("incomplete", node_of(call.user).has_value());  // theirs depend on their pods
  if (call.user.in(kMastersGroup)) {
    rule(resources, {"*"}, "resources", "*");
    rule(others, {"*"}, "nonResourceURLs", "*");
    return;
  }
  for (const char* r : {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}) {
    rule(resources, {"create"}, "resources", r);
  }
  if (call.user.in(kReadersGroup)) rule(resources, {"get", "list", "watch"}, "resources", "*");
  for (const char* p :
       {"/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/livez", "/readyz", "/healthz"}) {
    rule(others, {"get"}, "nonResourceURLs", p);
  }
}

void self_subject(const Call& call, json::Ref review) {
  write_user(review.set("status", json::Value::object()).set("userInfo", json::Value::object()), call.user,
             "username");
}

void answer_review(const CallPtr& call, json::Ref review) {
  review.ensure_object("metadata").set("creationTimestamp", rfc3339(call->core.clock.wall()));
  call->respond(201, review.dump());
}

// A token whose account, or whatever else it is bound to, is gone is as good as none.
void token_review(const CallPtr& call, json::Value body) {
  auto review = std::make_shared<json::Value>(std::move(body));
  review->ref().set("status", json::Value::object());
  json::Ref spec = review->ref()["spec"];
  std::string token(spec["token"].str());
  if (token.empty()) {
    return call->fail(status::bad_request("token is required for TokenReview in authentication"));
  }
  spec.remove("token");
  std::vector<std::string> audiences;
  for (json::Ref a : spec["audiences"]) audiences.emplace_back(a.str());
  const Identity& id = call->core.options.identity;
  Result<TokenProof> proof =
      id.verify_token ? id.verify_token(token, audiences) : fail(Errc::unauthenticated, "no tokens here");
  auto refuse = [call, review](const std::string& why) {
    json::Ref status = review->ref()["status"];
    status.set("authenticated", false);
    status.set("error", "invalid bearer token, " + why);
    answer_review(call, review->ref());
  };
  if (!proof) return refuse(proof.error().message);
  are_there(call->core.store.durable(), proof->user.bound,
            [call, review, refuse, proof = *proof](bool there) {
              if (!there) return refuse("service account token has been invalidated");
              User user = proof.user;
              user.groups.emplace_back("system:authenticated");
              json::Ref status = review->ref()["status"];
              status.set("authenticated", true);
              write_user(status.set("user", json::Value::object()), user, "username");
              json::Ref list = status.ensure_array("audiences");
              for (const std::string& a : proof.audiences) list.push(json::Value::string(a));
              answer_review(call, review->ref());
            });
}

struct Review {
  std::string_view resource;
  void (*answer)(const Call&, json::Ref review);
};

constexpr Review kReviews[] = {
    {"selfsubjectaccessreviews", self_access},     {"selfsubjectrulesreviews", self_rules},
    {"selfsubjectreviews", self_subject},          {"subjectaccessreviews", subject_access},
    {"localsubjectaccessreviews", subject_access},
};

}  // namespace

void create_review(CallPtr call) {
  const schema::Resource& r = *call->resource;
  if (call->info.verb != "create") return call->fail(status::method_not_allowed());
  // POST bindings: the older address of pods/NAME/binding.
  if (r.plural() == "bindings")
    return call->fail(status::from_error({Errc::unsupported, "use pods/NAME/binding"}));
  Outcome<json::Value> body = decode_object(*call, *r.type(), r.group(), r.version(), r.kind());
  if (!body) return call->fail(body.error());
  if (r.plural() == "tokenreviews") return token_review(call, std::move(*body));
  for (const Review& review : kReviews) {
    if (review.resource != r.plural()) continue;
    review.answer(*call, body->ref());
    return answer_review(call, body->ref());
  }
  call->fail(status::method_not_allowed());
}

}  // namespace limpet::api
