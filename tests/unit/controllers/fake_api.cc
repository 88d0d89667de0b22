#include "fake_api.h"

#include <doctest/doctest.h>

#include "schema/codec.h"
#include "schema/names.h"
#include "schema/patch_merge.h"
#include "schema/patch_strategic.h"
#include "schema/types.h"
#include "schema/validate.h"

namespace limpet::controllers {
namespace {

struct Token final : client::Pending {
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  ~Token() override { *alive = false; }
};

client::Reply failure(int code, const std::string& reason, const std::string& message) {
  json::Writer w;
  w.begin_object().field("kind", "Status").field("code", code).field("reason", reason);
  w.field("message", message).end_object();
  return {code, w.take()};
}

const char* group_of(std::string_view plural) {
  if (plural == "leases") return "coordination.k8s.io";
  return plural == "pods" || plural == "nodes" || plural == "secrets" ? "" : "apps";
}

const schema::Resource& resource_of(std::string_view plural) {
  const schema::Resource* r = schema::find_resource(group_of(plural), "v1", plural);
  REQUIRE_MESSAGE(r != nullptr, std::string(plural));
  return *r;
}

// "type=bootstrap.kubernetes.io/token" of the query, the one field selector that is known here.
bool selected(const std::string& query, json::Cursor object) {
  const std::string wanted = "fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken";
  return query.find(wanted) == std::string::npos ||
         object["type"].str_equals("bootstrap.kubernetes.io/token");
}

std::string_view plural_of(std::string_view key) { return key.substr(0, key.find('/')); }

}  // namespace

// "/apis/apps/v1/namespaces/d/replicasets/web/status", "/api/v1/pods"
FakeApi::Address FakeApi::parse(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    parts.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  size_t i = parts[0] == "api" ? 2 : 3;
  Address a;
  if (parts[i] == "namespaces") {
    a.ns = parts[i + 1];
    i += 2;
  }
  a.resource = parts[i];
  if (i + 1 < parts.size()) a.name = parts[i + 1];
  if (i + 2 < parts.size()) a.sub = parts[i + 2];
  return a;
}

std::string FakeApi::put(const std::string& path, const std::string& text) {
  json::Value v = json::parse(text).value();
  const size_t slash = path.find('/'), last = path.rfind('/');
  json::Ref meta = v.ref().ensure_object("metadata");
  const schema::Resource& r = resource_of(plural_of(path));
  if (r.namespaced()) meta.set("namespace", path.substr(slash + 1, last - slash - 1));
  meta.set("name", path.substr(last + 1));
  if (const json::Value before = get(path)) {
    for (const char* kept : {"uid", "creationTimestamp"})
      meta.set(kept, before.ref()["metadata"][kept].str());
    if (const int64_t generation = before.ref()["metadata"]["generation"].integer())
      meta.set("generation", generation);
  }
  v.ref().set("apiVersion", (r.group().empty() ? "" : std::string(r.group()) + "/") + "v1");
  v.ref().set("kind", r.kind());
  const client::Reply reply = store(path, v.ref(), true);
  REQUIRE_MESSAGE(reply.ok(), reply.body);
  return reply.body;
}

void FakeApi::change(const std::string& path, const std::function<void(json::Ref)>& f) {
  json::Value v = get(path);
  REQUIRE_MESSAGE(static_cast<bool>(v), path);
  f(v.ref());
  const client::Reply reply = store(path, v.ref(), false);
  REQUIRE_MESSAGE(reply.ok(), reply.body);
}

json::Value FakeApi::get(const std::string& path) const {
  const auto it = objects_.find(path);
  return it == objects_.end() ? json::Value() : std::move(json::parse(it->second).value());
}

std::vector<std::string> FakeApi::names(const std::string& resource) const {
  std::vector<std::string> out;
  for (const auto& [key, object] : objects_) {
    if (key.starts_with(resource + "/")) out.push_back(key.substr(key.rfind('/') + 1));
  }
  return out;
}

// Dependents go with their owner, as the garbage collector does it.
void FakeApi::remove(const std::string& path, const std::string& propagation) {
  const std::string uid(get(path).ref()["metadata"]["uid"].str());
  drop(path);
  std::vector<std::string> dependents;
  for (const auto& [key, object] : objects_) {
    if (json::Cursor(object)["metadata"]["ownerReferences"].at(0)["uid"].str_equals(uid))
      dependents.push_back(key);
  }
  for (const std::string& key : dependents) {
    if (propagation == "Orphan") {
      change(key, [](json::Ref o) { o["metadata"].remove("ownerReferences"); });
    } else {
      remove(key);
    }
  }
}

void FakeApi::drop(const std::string& key) {
  json::Value last = get(key);
  if (!last) return;
  last.ref()["metadata"].set("resourceVersion", std::to_string(++version_));
  objects_.erase(key);
  tell(key, "DELETED", last.ref().dump());
}

client::Reply FakeApi::store(const std::string& key, json::Ref object, bool checked) {
  const schema::Resource& r = resource_of(plural_of(key));
  json::Ref meta = object["metadata"];
  const bool known = objects_.contains(key);
  const json::Value before = get(key);
  if (!known) {
    if (meta["uid"].str().empty()) meta.set("uid", random_.uuid());
    meta.set("creationTimestamp", rfc3339(clock_.wall()));
    if (r.kind() != "Pod") meta.set("generation", 1);
  }
  if (Result<> decoded = schema::decode_tree(object, *r.type()); !decoded)
    return failure(400, "BadRequest", decoded.error().message);
  schema::apply_defaults(object, *r.type());
  if (!known && r.kind() == "Pod" && !object["status"])
    object.ensure_object("status").set("phase", "Pending");
  if (known && r.kind() != "Pod" && !object["spec"].equals(before.ref()["spec"]))
    meta.set("generation", meta["generation"].integer() + 1);
  meta.set("resourceVersion", std::to_string(version_ + 1));
  schema::FieldErrors errors;
  if (!known) {
    errors = schema::validate_create(r, object);
  } else if (checked) {
    errors = schema::validate_update(r, object, before);
    if (errors.empty()) errors = schema::validate_status_update(r, object, before);
  }
  if (!errors.empty()) return failure(422, "Invalid", schema::joined(errors));
  ++version_;
  objects_[key] = schema::encode_canonical(object, *r.type());
  tell(key, known ? "MODIFIED" : "ADDED", objects_[key]);
  return {known ? 200 : 201, objects_[key]};
}

void FakeApi::tell(const std::string& key, const char* type, const std::string& object) {
  for (const auto& w : watches_) {
    if (*w->alive && w->resource == plural_of(key) && selected(w->query, json::Cursor(object)))
      w->events.push_back(std::string(R"({"type":")") + type + R"(","object":)" + object + "}");
  }
}

bool FakeApi::turn() {
  if (!answers_.empty()) {
    const std::function<void()> f = std::move(answers_.front());
    answers_.pop_front();
    f();
    return true;
  }
  if (lag) return false;
  for (size_t i = 0; i < watches_.size(); i++) {
    Watch& w = *watches_[i];
    if (!*w.alive || w.events.empty()) continue;
    const std::string event = std::move(w.events.front());
    w.events.pop_front();
    w.stream.on_event(event);
    return true;
  }
  return false;
}

std::unique_ptr<client::Pending> FakeApi::call(client::Call call,
                                               std::function<void(Result<client::Reply>)> done) {
  auto token = std::make_unique<Token>();
  answers_.push_back([this, alive = token->alive, call = std::move(call), done = std::move(done)] {
    // What the server does, it does also when nobody waits for the answer any more.
    client::Reply reply = answer(call);
    if (*alive) done(std::move(reply));
  });
  return token;
}

std::unique_ptr<client::Pending> FakeApi::stream(client::Call call, Stream stream) {
  auto token = std::make_unique<Token>();
  auto w = std::make_unique<Watch>();
  *w = {parse(call.path).resource, call.query, token->alive, std::move(stream), {}};
  watches_.push_back(std::move(w));
  return token;
}

client::Reply FakeApi::answer(const client::Call& call) {
  const Address a = parse(call.path);
  if (call.method == "GET" && a.name.empty()) return list(a, call.query);
  if (call.method == "GET") {
    const auto it = objects_.find(a.key());
    return it == objects_.end() ? failure(404, "NotFound", a.key() + " not found")
                                : client::Reply{200, it->second};
  }
  log.push_back(call.method + " " + (a.name.empty() ? a.resource : a.key()) +
                (a.sub.empty() ? "" : "/" + a.sub));
  if (const int status = refuse ? refuse(call) : 0)
    return failure(status, status == 403 ? "Forbidden" : "InternalError", "refused by the test");
  if (call.method == "POST") return create(a, call);
  if (call.method == "PATCH") return patch(a, call);
  return erase(a, call);
}

client::Reply FakeApi::list(const Address& a, const std::string& query) const {
  std::string items;
  for (const auto& [key, object] : objects_) {
    if (key.starts_with(a.resource + "/") && selected(query, json::Cursor(object)))
      items += (items.empty() ? "" : ",") + object;
  }
  return {200, R"({"metadata":{"resourceVersion":")" + std::to_string(version_) + R"("},"items":[)" + items +
                   "]}"};
}

client::Reply FakeApi::create(const Address& a, const client::Call& call) {
  json::Value v = json::parse(call.body).value();
  json::Ref meta = v.ref()["metadata"];
  meta.set("namespace", a.ns);
  if (meta["name"].str().empty())
    meta.set("name", schema::generate_name(meta["generateName"].str(), random_));
  const std::string key = a.key() + std::string(meta["name"].str());
  if (objects_.contains(key)) return failure(409, "AlreadyExists", key + " already exists");
  return store(key, v.ref(), true);
}

client::Reply FakeApi::patch(const Address& a, const client::Call& call) {
  json::Value now = get(a.key());
  if (!now) return failure(404, "NotFound", a.key() + " not found");
  const json::Value before = now.clone();
  const json::Value body = json::parse(call.body).value();
  for (const char* k : {"uid", "resourceVersion"}) {
    const std::string_view wanted = body.ref()["metadata"][k].str();
    if (!wanted.empty() && wanted != now.ref()["metadata"][k].str())
      return failure(409, "Conflict", std::string("the object has another ") + k);
  }
  const bool strategic = call.content_type == "application/strategic-merge-patch+json";
  Result<json::Value> out;
  if (strategic) {
    out = schema::apply_strategic_patch(std::move(now), body, *resource_of(a.resource).type());
  } else {
    out = schema::apply_merge_patch(std::move(now), body);
  }
  if (!out) return failure(422, "Invalid", out.error().message);
  // The other half stays as it was.
  const char* kept = a.sub == "status" ? "spec" : "status";
  out->ref().remove(kept);
  if (const json::Ref half = before.ref()[kept]) out->ref().set(kept, half.clone());
  return store(a.key(), out->ref(), true);
}

client::Reply FakeApi::erase(const Address& a, const client::Call& call) {
  json::Value now = get(a.key());
  if (!now) return failure(404, "NotFound", a.key() + " not found");
  const json::Value body = json::parse(call.body).value();
  const std::string_view uid = body.ref()["preconditions"]["uid"].str();
  if (!uid.empty() && uid != now.ref()["metadata"]["uid"].str())
    return failure(409, "Conflict", "the object has another uid");
  // A pod on a node ends in its own time.
  const bool at_once = body.ref()["gracePeriodSeconds"].integer(30) == 0;
  if (a.resource == "pods" && !at_once && !now.ref()["spec"]["nodeName"].str().empty()) {
    now.ref()["metadata"].set("deletionTimestamp", rfc3339(clock_.wall()));
    now.ref()["metadata"].set("deletionGracePeriodSeconds", 30);
    return store(a.key(), now.ref(), false);
  }
  remove(a.key());
  return {200, R"({"kind":"Status","status":"Success"})"};
}

}  // namespace limpet::controllers
