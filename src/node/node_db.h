// node.db: what this device must run with no server, no route and no registry in sight: its pods, the
// ConfigMaps and Secrets they mention (secrets sealed with the device's key), restart counts and requests.
// SQLite, local, never replicated, rebuilt from the API when it is lost or damaged.
//
// Written only when something changed (an idle device writes nothing); writes run on the pool, one at a time,
// in order. Reads are from memory: the whole of it is loaded at start and is small.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "loop/loop.h"

namespace limpet::node {

// How secrets are sealed at rest; the daemon wires src/pki's.
struct Sealer {
  std::function<Result<std::string>(std::string_view plain)> seal;
  std::function<Result<std::string>(std::string_view sealed)> open;
};

class NodeDb {
 public:
  // Blocking, at start. A damaged file, or one of another program, is set aside by name (.damaged-N, at most
  // three) and a fresh one is begun: everything in it can be had again from the API. A file of a newer
  // version is refused. Where the disk is full or cannot be written the device goes on from memory, and what
  // waits is written when there is room.
  static Result<std::unique_ptr<NodeDb>> open(loop::Loop& loop, const std::string& path, Sealer sealer);
  virtual ~NodeDb() = default;

  virtual std::vector<SharedBytes> pods() const = 0;
  virtual void put_pod(const std::string& uid, SharedBytes pod) = 0;
  virtual void remove_pod(const std::string& uid) = 0;
  // Restart counts by container, so that they survive a reboot.
  virtual std::map<std::string, int> restart_counts(const std::string& uid) const = 0;
  virtual void put_restart_count(const std::string& uid, const std::string& container, int count) = 0;
  // The runs that a person asked to have ended and begun anew, by container: its id. The request outlives the
  // daemon, or a pod that is not restarted by its policy would end for good in between.
  virtual std::map<std::string, std::string> restarts_asked(const std::string& uid) const = 0;
  // run: "" once the new run is made.
  virtual void put_restart_asked(const std::string& uid, const std::string& container,
                                 const std::string& run) = 0;
  // key: "NAMESPACE/configmaps/NAME"; null when there is none.
  virtual SharedBytes object(const std::string& key) const = 0;
  virtual void put_object(const std::string& key, SharedBytes bytes) = 0;
  // Drops objects that no pod mentions.
  virtual void retain_objects(const std::vector<std::string>& keys) = 0;
  virtual void close(std::function<void()> done) = 0;
};

}  // namespace limpet::node
