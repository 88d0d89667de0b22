// ConfigMaps and Secrets that pods mention: fetched from the API when a container is made or a volume is
// filled, so that values are fresh; from the device's own record (node_db.h) when the API cannot be reached.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "client/client.h"
#include "node/services.h"

namespace limpet::node {

class NodeDb;

// By "configmaps/NAME" and "secrets/NAME"; absent: there is none of that name.
using ObjectMap = std::map<std::string, SharedBytes>;

class Objects {
 public:
  Objects(client::Client& client, NodeDb& db) : client_(client), db_(db) {}
  // Errors: the API said something other than yes or not found, and the device has no record either.
  [[nodiscard]] std::unique_ptr<Operation> fetch(const std::string& ns, std::vector<std::string> names,
                                                 std::function<void(Result<ObjectMap>)> done);

 private:
  client::Client& client_;
  NodeDb& db_;
};

}  // namespace limpet::node
