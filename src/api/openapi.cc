#include "api/openapi.h"

#include "api/context.h"
#include "loop/loop.h"
#include "schema/openapi.h"
#include "schema/types.h"

namespace limpet::api {
namespace {

using Make = std::string (*)(std::string_view group, std::string_view version);

// Documents are made on the pool: one takes longer than a turn of the loop may. They are pure functions of
// constant tables.
class Document : public Session {
 public:
  Document(CallPtr call, Make make, std::string_view type)
      : call_(std::move(call)), make_(make), type_(type) {}

  void start(std::string group, std::string version) {
    auto body = std::make_shared<std::string>();
    work_.start(
        call_->core.loop,
        [make = make_, body, group = std::move(group), version = std::move(version)] {
          *body = make(group, version);
          schema::release_docs();
        },
        [this, body] { finish(std::move(*body)); });
  }
  void stop() override {
    work_.forget();
    call_->fail(status::unavailable("the server is shutting down", 1));
    call_->core.finish(this);
  }

 private:
  void finish(std::string body) {
    if (body.empty()) {
      call_->fail(status::no_such_path());
    } else {
      call_->respond(200, std::move(body), type_);
    }
    call_->core.finish(this);
  }

  CallPtr call_;
  Make make_;
  std::string_view type_;
  loop::Work work_;
};

// A document that the client may have already. `type` is a constant.
void answer(const CallPtr& call, Make make, std::string_view group, std::string_view version,
            std::string_view type = "application/json") {
  const std::string_view form = type == "application/json" ? "\"" : "-protobuf\"";
  const std::string tag = "\"" + std::string(schema::openapi_hash()).append(form);
  call->add_header("ETag", tag);
  if (call->request().headers.get("If-None-Match") == tag) return call->respond(304, "");
  auto document = std::make_shared<Document>(call, make, type);
  call->core.keep(document);
  document->start(std::string(group), std::string(version));
}

// The protobuf form of v2 is what kubectl wants before it sends a List (`kubectl apply` of what `get -o yaml`
// printed), and what kubectl before 1.27 explains and checks by. Asked for with one spelling, answered with
// another: the first is no media type, and clients fail on it.
constexpr std::string_view kProtobufAsked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
constexpr std::string_view kProtobufServed = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

bool wants_protobuf(const CallPtr& call) {
  const std::string_view accept = call->request().headers.get("Accept");
  return accept.find(kProtobufAsked) != std::string_view::npos ||
         accept.find(kProtobufServed) != std::string_view::npos;
}

}  // namespace

bool serve_openapi(const CallPtr& call) {
  std::vector<std::string_view> p = split_path(call->info.path);
  if (p.size() < 2 || p[0] != "openapi" || (p[1] != "v3" && p[1] != "v2")) return false;
  if (p.size() == 2 && p[1] == "v2" && wants_protobuf(call)) {
    auto protobuf = [](std::string_view, std::string_view) { return schema::openapi_v2_protobuf(); };
    answer(call, protobuf, "", "", kProtobufServed);
    return true;
  }
  if (!negotiate(call->request().headers.get("Accept"), "", false)) {
    call->fail(status::not_acceptable(kServedTypes));
    return true;
  }
  auto index = [](std::string_view, std::string_view) { return schema::openapi_v3_index(); };
  auto all = [](std::string_view, std::string_view) { return schema::openapi_v2(); };
  if (p[1] == "v2") {
    if (p.size() != 2) return false;
    answer(call, all, "", "");
  } else if (p.size() == 2) {
    answer(call, index, "", "");
  } else if (p.size() == 4 && p[2] == "api") {
    answer(call, schema::openapi_v3, "", p[3]);
  } else if (p.size() == 5 && p[2] == "apis") {
    answer(call, schema::openapi_v3, p[3], p[4]);
  } else {
    return false;
  }
  return true;
}

}  // namespace limpet::api
