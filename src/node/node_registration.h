// The device as a Node object: made when there is none, brought up to date when facts change and when others
// changed it (conditions that became Unknown while it was not heard of), never on a timer (an idle device
// writes nothing; that it is alive is seen from its heartbeats, which live in memory).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "client/client.h"
#include "client/informer.h"
#include "loop/loop.h"

namespace limpet::node {

struct NodeFacts {
  std::string name, hostname;
  std::vector<std::string> internal_ips;
  std::string internal_dns;                   // empty: none
  std::map<std::string, std::string> labels;  // from the configuration; override the built-in ones
  struct TaintFact {
    std::string key, value, effect;
  };
  std::vector<TaintFact> taints;  // from the configuration; what operators add or take away stays
  std::string pod_cidr;
  int64_t cpu_millis = 0, memory_bytes = 0, disk_bytes = 0, max_pods = 110;
  std::string machine_id, boot_id, kernel, os_image, runtime_version, architecture, version;
  uint16_t api_port = 0;
  // A server may give its Node its role, and taints at any time. Any other device has the taints of its
  // configuration when it registers; afterwards they are for administrators, as are the labels that
  // refused_labels() names.
  bool server = true;
};

// What this machine says of itself: processors, memory (the daemon's own cgroup counted), kernel, os-release.
NodeFacts read_machine(const std::string& data_dir);

// Labels of the configuration that the API does not take from a device (schema/node_labels.h). Pure.
std::vector<std::string> refused_labels(const NodeFacts& facts);
// The object and its status as they should be. Pure.
std::string node_object(const NodeFacts& facts);
// What a merge patch must change of the stored object so that it says what the configuration says: labels of
// the configuration and the machine; taints that came into the configuration or left it since the object was
// written last (an annotation remembers them). Labels and taints of others stay. Empty: nothing. Pure.
std::string node_patch(const NodeFacts& facts, const std::string& object);
std::string node_status(const NodeFacts& facts, bool ready, const std::string& why_not,
                        const std::string& previous_status, WallTime now);

class NodeRegistration {
 public:
  // `may_make` is asked before a Node is made: a device that is leaving makes none.
  NodeRegistration(loop::Loop& loop, Clock& clock, Random& random, client::Client& client, NodeFacts facts,
                   std::function<bool()> may_make);
  ~NodeRegistration();
  // told comes once: the Node says what is known, or saying it has failed and is tried again.
  void start(std::function<void()> told);
  void set_ready(bool ready, const std::string& why_not);
  void set_facts(NodeFacts facts);
  // Whatever the API holds is compared with what it should be, now: somebody may have changed it where the
  // watch does not see it yet.
  void check();
  // When the API was last known to say all of it, of the loop's clock; -1: never.
  int64_t confirmed_ms() const { return confirmed_ms_; }

 private:
  void follow();
  void seen(const std::string& object);
  void look();
  void create();
  void update(const std::string& object);
  void patch_status(const std::string& object);
  std::string status_patch(const std::string& object) const;  // empty: nothing is to be changed
  void later();
  void tell_refused() const;

  loop::Loop& loop_;
  Clock& clock_;
  Random& random_;
  client::Client& client_;
  NodeFacts facts_;
  std::function<bool()> may_make_;
  std::unique_ptr<client::Informer> watch_;  // of the Node, from start() on
  bool ready_ = false, dirty_ = false;
  std::string why_not_ = "the device is starting";
  std::function<void()> told_;
  std::unique_ptr<client::Pending> call_;
  loop::Timer retry_;
  int64_t missing_until_ms_ = 0;  // it was removed; by the loop's clock
  int64_t backoff_ms_ = 0, confirmed_ms_ = -1, written_ms_ = -1;
};

}  // namespace limpet::node
