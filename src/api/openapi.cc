#include "api/openapi.h"

#include "schema/openapi.h"
#include "schema/types.h"

namespace limpet::api {
namespace {

// A document that the client may have already.
void answer(const CallPtr& call, std::string (*make)(std::string_view, std::string_view),
            std::string_view group, std::string_view version) {
  std::string tag = "\"" + std::string(schema::openapi_hash()) + "\"";
  call->add_header("ETag", tag);
  if (call->request().headers.get("If-None-Match") == tag) return call->respond(304, "");
  std::string body = make(group, version);
  schema::release_docs();
  if (body.empty()) return call->fail(status::no_such_path());
  call->respond(200, std::move(body));
}

// The protobuf form of v2 is what kubectl wants before it sends a List (`kubectl apply` of what `get -o yaml`
// printed). It holds a document without definitions: then the client checks nothing itself and asks for
// fieldValidation, so that the server's own schema is the judge, as for everything else.
constexpr std::string_view kProtobufAsked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
constexpr std::string_view kProtobufServed = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

std::string protobuf_v2() {
  const auto field = [](int number, std::string_view bytes) {
    std::string out(1, static_cast<char>(number << 3 | 2));
    out += static_cast<char>(bytes.size());  // all of them are shorter than 128 bytes
    return out.append(bytes);
  };
  return field(1, "2.0") + field(2, field(1, "Kubernetes") + field(2, "v1.35.0")) + field(8, "");
}

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
    call->respond(200, protobuf_v2(), kProtobufServed);
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
