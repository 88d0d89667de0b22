#include "api/openapi.h"

#include "schema/openapi.h"
#include "schema/types.h"

namespace limpet::api {
namespace {

// A document that the client may have already.
void answer(const CallPtr& call, std::string (*make)(std::string_view, std::string_view),
            std::string_view group, std::string_view version, std::string_view type = "application/json") {
  const std::string_view form = type == "application/json" ? "\"" : "-protobuf\"";
  const std::string tag = "\"" + std::string(schema::openapi_hash()).append(form);
  call->add_header("ETag", tag);
  if (call->request().headers.get("If-None-Match") == tag) return call->respond(304, "");
  std::string body = make(group, version);
  schema::release_docs();
  if (body.empty()) return call->fail(status::no_such_path());
  call->respond(200, std::move(body), type);
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
