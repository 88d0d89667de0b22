// One start of one container: what it mentions is fetched, its image is there, its configuration is computed,
// the runtime makes and starts it, its post-start hook runs. The worker owns it; destroying it gives up what
// can be given up and drops what comes late.
#pragma once

#include <memory>
#include <string>

#include "node/pod_worker.h"

namespace limpet::node {

class ContainerStarter : public std::enable_shared_from_this<ContainerStarter> {
 public:
  ContainerStarter(PodWorker& worker, const ContainerSpec& spec);
  void begin();
  // True while nothing was made in the runtime yet, so that dropping the starter ends the start.
  bool can_cancel() const { return !making_; }
  // True while only the post-start hook is waited for.
  bool in_hook() const { return in_hook_; }

 private:
  void fetched(Result<ObjectMap> objects);
  void find_image();
  void check_image(const std::string& image_id);
  void pull();
  void pulled(Result<ImageRoot> root, int64_t began_ms);
  void configure(ImageRoot image);
  void create(ContainerConfig config);
  void start();
  void post_start();
  void fail(const std::string& reason, const std::string& message);

  PodWorker& worker_;
  ContainerSpec spec_;
  ObjectMap objects_;
  std::string id_;
  bool making_ = false, in_hook_ = false;
  std::unique_ptr<Operation> operation_;
};

}  // namespace limpet::node
