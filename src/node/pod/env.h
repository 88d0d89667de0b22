// The environment of a container, as Kubernetes builds it: image, then envFrom, then env with its sources,
// then $(VAR) references resolved in order. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/result.h"

namespace limpet::node {

using Env = std::vector<std::pair<std::string, std::string>>;

// ConfigMaps and Secrets of the pod's namespace; null when there is none. kind is "configmaps" or "secrets".
using FindObject = std::function<SharedBytes(std::string_view kind, std::string_view name)>;

struct DownwardFacts {
  std::string node_name;
  std::vector<std::string> pod_ips, host_ips;
  int64_t node_cpu_millis = 0, node_memory_bytes = 0;  // stand in for limits that are not set
};

// $(NAME) by value, $$(NAME) as $(NAME), unknown names as they stand.
std::string expand(std::string_view text, const Env& env);

// Reads one `metadata.*`, `spec.*` or `status.*` path of the downward API. Errors: invalid_argument for
// unknown paths.
Result<std::string> downward_field(json::Cursor pod, const DownwardFacts& facts, std::string_view path);
// limits.cpu and its like, rounded up in units of the divisor.
Result<std::string> downward_resource(json::Cursor container, const DownwardFacts& facts,
                                      std::string_view resource, std::string_view divisor);

// The values of the container's own envFrom and env, without those of the image. Errors carry the words that
// CreateContainerConfigError shows: `configmap "x" not found`, `couldn't find key k in ConfigMap ns/x`.
Result<Env> container_env(json::Cursor pod, json::Cursor container, const DownwardFacts& facts,
                          const FindObject& find);

// `more` over `base`: a name that stands in both keeps its place and takes the new value.
void merge_env(Env* base, const Env& more);

}  // namespace limpet::node
