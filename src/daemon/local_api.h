// What the unix socket serves beside the API: everything below /limpet/v1/, for the limpet command.
//
// Parts put in what they have to offer: a handler for the paths below a prefix, a member of the status
// document. Who asks is known from the kernel: uid 0 may do everything, readers may GET, save what is marked
// as root's. Failures are Status objects, as the API's. Owned by the local part; on the loop's thread.
//
//   GET /limpet/v1/version      {"version","apiVersion","node"}
//   GET /limpet/v1/status       one member per describe()
//   GET /limpet/v1/kubeconfig   text (root only)
//   POST /limpet/v1/backup      records of backup/records.h, unsealed: who asks seals them (root only)
//   /limpet/v1/images, /limpet/v1/pods: image/http_api.h, local_pods.h
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/json.h"
#include "http/message.h"

namespace limpet::daemon {

class LocalApi {
 public:
  enum class Access { readers, root };                  // who may GET; everything else is root's
  using Describe = std::function<void(json::Writer&)>;  // writes one value

  // Whether a user and primary group other than root's may read.
  explicit LocalApi(std::function<bool(uint32_t uid, uint32_t gid)> may_read)
      : may_read_(std::move(may_read)) {}
  LocalApi(const LocalApi&) = delete;

  // Requests for /limpet/v1/NAME and below go to the handler; an empty one takes it away.
  void serve(const std::string& name, http::Handler handler, Access access = Access::readers);
  // The member NAME of the status document; an empty function takes it away.
  void describe(const std::string& name, Describe f);

  // Serves /limpet/v1/ itself and hands everything else on.
  http::Handler over(http::Handler api);

 private:
  struct Route {
    http::Handler handler;
    Access access;
  };
  void handle(const http::ExchangePtr& exchange);

  std::function<bool(uint32_t, uint32_t)> may_read_;
  std::map<std::string, Route> routes_;
  std::map<std::string, Describe> status_;
};

// Answers of handlers below /limpet/v1/.
http::Response local_json(std::string body);
http::Response local_failure(int code, std::string_view reason, std::string message);

}  // namespace limpet::daemon
