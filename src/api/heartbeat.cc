#include "api/heartbeat.h"

#include "api/lease_space.h"
#include "api/node_authz.h"
#include "base/json.h"

namespace limpet::api {
namespace {

constexpr size_t kMaxBody = 256;
constexpr int64_t kDurationS = 40, kShortestS = 10, kLongestS = 3600;

Outcome<int64_t> duration(const std::string& body) {
  if (body.empty()) return kDurationS;
  const auto wrong = [](std::string why) {
    return std::unexpected(
        status::bad_request("the body of a heartbeat is {\"leaseDurationSeconds\":N}: " + why));
  };
  if (body.size() > kMaxBody) return wrong("it is too long");
  Result<json::Value> v = json::parse(body);
  if (!v) return wrong(v.error().message);
  for (json::Ref member : v->ref()) {
    if (member.key() != "leaseDurationSeconds") return wrong("unknown field " + json::quoted(member.key()));
  }
  if (!v->ref().is_object()) return wrong("it is no object");
  json::Ref given = v->ref()["leaseDurationSeconds"];
  if (!given) return kDurationS;
  const std::optional<int64_t> n = given.exact_integer();
  if (!n || *n < kShortestS || *n > kLongestS) {
    return wrong(strf("N is a whole number from %lld to %lld", static_cast<long long>(kShortestS),
                      static_cast<long long>(kLongestS)));
  }
  return *n;
}

}  // namespace

bool serve_heartbeat(const CallPtr& call) {
  if (call->info.path != kHeartbeatPath) return false;
  const auto answer = [call](Status s) { call->fail(s); };
  if (call->request().method != "POST") return answer(status::method_not_allowed()), true;
  const std::optional<std::string> node = node_of(call->user);
  if (!node || node->empty())
    return answer(status::bad_request("only a device has a heartbeat, not " + call->user.name)), true;
  Outcome<int64_t> seconds = duration(call->request().body);
  if (!seconds) return answer(seconds.error()), true;
  call->core.leases->renew(*node, *seconds, [call, node = *node](Result<> r) {
    if (r) return call->respond(204, "");
    const schema::Resource* nodes = schema::find_resource("", "v1", "nodes");
    if (r.error().code == Errc::not_found && nodes) return call->fail(status::not_found(*nodes, node));
    call->fail(status::from_error(r.error()));
  });
  return true;
}

}  // namespace limpet::api
