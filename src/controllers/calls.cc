#include "controllers/calls.h"

#include <utility>

namespace limpet::controllers {
namespace {

// Who the fields of objects belong to, as managedFields tells it.
constexpr const char* kManager = "fieldManager=kube-controller-manager";

struct Row : std::enable_shared_from_this<Row> {
  std::vector<Step> steps;
  size_t at = 0;
  Next done;

  void next(const Result<>& before) {
    if (!before || at == steps.size()) return done(before);
    const Step step = std::move(steps[at++]);
    step([self = shared_from_this()](Result<> r) { self->next(r); });
  }
};

}  // namespace

void Calls::send(client::Call call, Done done) {
  const uint64_t id = ++last_;
  // The answer never comes before call() returns.
  pending_[id] =
      client_.call(std::move(call), [this, id, done = std::move(done)](Result<client::Reply> reply) {
        const auto node = pending_.extract(id);  // lives until this is over
        const Done f = done;                     // which may be the end of `this`
        if (reply && !reply->ok()) return f(std::unexpected(reply->error()));
        f(std::move(reply));
      });
}

void Calls::create(const std::string& path, std::string body, Done done) {
  send({"POST", path, kManager, "application/json", std::move(body)}, std::move(done));
}

void Calls::patch(const std::string& path, std::string body, Done done) {
  send({"PATCH", path, kManager, "application/merge-patch+json", std::move(body)}, std::move(done));
}

void Calls::patch_lists(const std::string& path, std::string body, Done done) {
  send({"PATCH", path, kManager, "application/strategic-merge-patch+json", std::move(body)}, std::move(done));
}

void Calls::remove(const std::string& path, const std::string& uid, Done done) {
  json::Writer w;
  w.begin_object().key("preconditions").begin_object().field("uid", uid).end_object().end_object();
  send({"DELETE", path, "", "application/json", w.take()}, std::move(done));
}

void Calls::remove_now(const std::string& path, const std::string& uid, Done done) {
  json::Writer w;
  w.begin_object().field("gracePeriodSeconds", 0);
  w.key("preconditions").begin_object().field("uid", uid).end_object().end_object();
  send({"DELETE", path, "", "application/json", w.take()}, std::move(done));
}

void in_order(std::vector<Step> steps, Next done) {
  auto row = std::make_shared<Row>();
  row->steps = std::move(steps);
  row->done = std::move(done);
  row->next({});
}

int64_t version_of(const client::Reply& reply) {
  return read_version(json::Cursor(reply.body)["metadata"]["resourceVersion"].str());
}

json::Writer begin_patch(const Object& object) {
  json::Writer w = begin_patch_of(object);
  w.field("resourceVersion", std::to_string(object.version));
  return w;
}

json::Writer begin_patch_of(const Object& object) {
  json::Writer w;
  w.begin_object().key("metadata").begin_object().field("uid", object.uid);
  return w;
}

std::string adopt_patch(const Object& object, const Object& owner, std::string_view api_version,
                        std::string_view kind) {
  json::Writer w;
  w.begin_object().key("metadata").begin_object().field("uid", object.uid);
  w.key("ownerReferences").begin_array().begin_object();
  w.field("apiVersion", api_version).field("kind", kind).field("name", owner.name).field("uid", owner.uid);
  w.field("controller", true).field("blockOwnerDeletion", true);
  w.end_object().end_array().end_object().end_object();
  return w.take();
}

std::string release_patch(const Object& object, const Object& owner) {
  json::Writer w;
  w.begin_object().key("metadata").begin_object().field("uid", object.uid);
  w.key("ownerReferences").begin_array().begin_object();
  w.field("$patch", "delete").field("uid", owner.uid);
  w.end_object().end_array().end_object().end_object();
  return w.take();
}

}  // namespace limpet::controllers
