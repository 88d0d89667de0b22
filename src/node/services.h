// What the node agent needs of distant rooms, as small interfaces that the daemon wires: images and pod
// networks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::node {

// An operation under way; destroying it cancels.
class Operation {
 public:
  virtual ~Operation() = default;
};

// ---- images (src/image)
// -------------------------------------------------------------------------------------------

struct ImageRoot {
  std::string image_id;                 // "sha256:..." of the configuration blob
  std::string repo_digest;              // "docker.io/library/busybox@sha256:...", what status.imageID shows
  std::vector<std::string> lower_dirs;  // overlayfs lower directories, uppermost first
  std::string config_json;              // OCI image configuration
};

struct PullProgress {
  uint64_t done = 0, total = 0;  // bytes
  size_t layers_done = 0, layers = 0;
};

struct PullRequest {
  std::string reference;                              // as in the pod
  std::vector<std::string> docker_configs;            // bodies of .dockerconfigjson from imagePullSecrets
  std::function<void(const PullProgress&)> progress;  // optional; often; must not cancel the pull
};

class Images {
 public:
  virtual ~Images() = default;
  // The image in the store, verified present; nullopt when it has to be pulled. References are normalised by
  // itself.
  virtual std::optional<ImageRoot> find(const std::string& reference) = 0;
  // Fetches and unpacks. Equal pulls under way are joined.
  [[nodiscard]] virtual std::unique_ptr<Operation> pull(PullRequest request,
                                                        std::function<void(Result<ImageRoot>)> done) = 0;
  // A layer below a container was found damaged: makes it again (from blobs, else by pulling).
  [[nodiscard]] virtual std::unique_ptr<Operation> repair(const std::string& image_id,
                                                          std::function<void(Result<>)> done) = 0;
  // Image ids in use by pods of this device; everything else may be collected.
  virtual void set_in_use(std::vector<std::string> image_ids) = 0;
};

// ---- networks (src/net)
// -------------------------------------------------------------------------------------------

struct HostPort {
  std::string protocol;  // "TCP", "UDP"
  uint16_t host_port = 0;
  uint16_t container_port = 0;
  std::string host_ip;
};

struct PodNetworkRequest {
  std::string pod_uid;
  std::string netns_path;  // bind-mounted network namespace, made by the caller
  std::vector<HostPort> host_ports;
};

struct PodAddresses {
  std::vector<std::string> ips;  // primary first
};

class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  // Idempotent: attaching what is attached gives the same address (also after a restart of the daemon).
  [[nodiscard]] virtual std::unique_ptr<Operation> attach(PodNetworkRequest request,
                                                          std::function<void(Result<PodAddresses>)> done) = 0;
  // Idempotent; releases the address, which is not given out again at once.
  [[nodiscard]] virtual std::unique_ptr<Operation> detach(std::string pod_uid,
                                                          std::function<void(Result<>)> done) = 0;
  // Pods known to the agent after adoption; leftovers of others are removed.
  virtual void retain(std::vector<std::string> pod_uids) = 0;
};

}  // namespace limpet::node
