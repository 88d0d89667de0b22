// What the API of this device holds that somebody put there, and that would be given up by joining another
// cluster. What every cluster has by itself is not counted (built-in namespaces, default service accounts,
// kube-root-ca.crt), nor what comes from the device and comes again: Nodes (those of former names, too),
// mirrors of static pods, join tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/store.h"

namespace limpet::daemon {

// By the first part of the key: "pods", "deployments.apps".
using ObjectCounts = std::map<std::string, int64_t>;

bool is_given_up(std::string_view key, std::string_view value);

// Walks the durable space, page by page; `done` may come before it returns, and does not come once `alive` is
// gone.
void count_own_objects(store::Space& durable, std::weak_ptr<char> alive,
                       std::function<void(Result<ObjectCounts>)> done);

// "3 configmaps, 1 pods and 12 others"; empty when there are none.
std::string in_words(const ObjectCounts& counts);

}  // namespace limpet::daemon
