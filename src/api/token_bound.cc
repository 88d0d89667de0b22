#include "api/token_bound.h"

#include "api/object.h"

namespace limpet::api {
namespace {

constexpr std::string_view kAccount = "system:serviceaccount:";
constexpr std::string_view kPodName = "authentication.kubernetes.io/pod-name";
constexpr std::string_view kPodUid = "authentication.kubernetes.io/pod-uid";

std::string extra(const User& user, std::string_view key) {
  for (const auto& [name, values] : user.extra) {
    if (name == key && !values.empty()) return values[0];
  }
  return "";
}

}  // namespace

std::vector<BoundObject> bound_objects(const User& user) {
  if (!user.name.starts_with(kAccount) || user.uid.empty()) return {};
  const std::string rest = user.name.substr(kAccount.size());
  const size_t colon = rest.find(':');
  if (colon == std::string::npos) return {};
  const std::string ns = rest.substr(0, colon);
  std::vector<BoundObject> out = {{"serviceaccounts/" + ns + "/" + rest.substr(colon + 1), user.uid}};
  const std::string pod = extra(user, kPodName);
  if (!pod.empty()) out.push_back({"pods/" + ns + "/" + pod, extra(user, kPodUid)});
  return out;
}

void are_there(store::Space& space, std::vector<BoundObject> objects, std::function<void(bool)> done) {
  if (objects.empty()) return done(true);
  const BoundObject one = std::move(objects.back());
  objects.pop_back();
  space.get(one.key, [&space, uid = one.uid, objects = std::move(objects), done = std::move(done)](
                         Result<std::optional<store::Item>> item) mutable {
    if (!item || !*item || read_meta(*(*item)->value).uid != uid) return done(false);
    are_there(space, std::move(objects), std::move(done));
  });
}

}  // namespace limpet::api
