// Calls of controllers to the API: kept until they are answered, dropped when the owner goes. Loop thread
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "controllers/object.h"

namespace limpet::controllers {

class Calls {
 public:
  // An answer that is an error comes as one; a Reply is always a good one.
  using Done = std::function<void(Result<client::Reply>)>;

  explicit Calls(client::Client& client) : client_(client) {}
  void send(client::Call call, Done done);

  void get(const std::string& path, Done done) {
    send({"GET", path, "", "application/json", ""}, std::move(done));
  }
  void create(const std::string& path, std::string body, Done done);
  // A merge patch (lists are replaced as a whole) or a strategic one (lists are merged by key). `body` should
  // name uid and resourceVersion as conditions.
  void patch(const std::string& path, std::string body, Done done);
  void patch_lists(const std::string& path, std::string body, Done done);
  void remove(const std::string& path, const std::string& uid, Done done);
  // Without a grace period: a pod is gone whatever its device says.
  void remove_now(const std::string& path, const std::string& uid, Done done);

 private:
  client::Client& client_;
  uint64_t last_ = 0;
  std::map<uint64_t, std::unique_ptr<client::Pending>> pending_;
};

// Steps one after the other, each of which says how it went; the first that fails ends the row.
using Next = std::function<void(Result<>)>;
using Step = std::function<void(Next)>;
void in_order(std::vector<Step> steps, Next done);

// The version that a write made, 0 when the answer is no object.
int64_t version_of(const client::Reply& reply);

// The beginning of a patch under the condition that the object is still as it was seen: an open "metadata",
// to which members may be added, inside an open object.
json::Writer begin_patch(const Object& object);
// The same while it is the same object, whatever else changed.
json::Writer begin_patch_of(const Object& object);
// Strategic patches that make `owner` the controller of an orphan, or `object` an orphan.
std::string adopt_patch(const Object& object, const Object& owner, std::string_view api_version,
                        std::string_view kind);
std::string release_patch(const Object& object, const Object& owner);

}  // namespace limpet::controllers
