// The worker of one pod: carries out what compute_actions() says, one operation per container at a time,
// feeds each outcome back into the state, and writes the status when it differs.
//
// The state machine is in pod/actions.h; here are only effects. A late outcome of an operation that was given
// up is dropped: every callback holds the worker weakly.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "node/account_tokens.h"
#include "node/agent.h"
#include "node/pod/actions.h"
#include "node/pod/probe.h"
#include "node/pod/prober.h"
#include "node/pod/spec.h"
#include "node/pod/state.h"
#include "node/pod/volumes.h"

namespace limpet::node {

class ContainerStarter;

class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  PodWorker(AgentServices services, PodSpec spec);
  ~PodWorker();

  const PodSpec& spec() const { return spec_; }
  const PodState& state() const { return state_; }
  // The pod's object with its status as it is now, whether or not the API has been told.
  std::string object() const;
  // The container's id in the runtime and the log file of a run; empty when there is none.
  std::string container_id(const std::string& container) const;
  std::string log_path(const std::string& container, bool previous) const;
  std::string pod_log_dir() const;

  void replace(PodSpec spec);  // a newer version of the object; sync() acts on it
  // A ConfigMap or Secret that the pod mentions is another than the one last seen.
  void object_changed();
  bool wants_objects() const { return !state_.terminal && !orphaned_ && !spec_.deletion; }
  void adopt_sandbox(const AdoptedSandbox& sandbox);
  void adopt_containers(std::vector<AdoptedContainer> containers);  // all of this pod, in any order
  void adopt_history(const std::map<std::string, int>& restart_counts);
  void on_container_change(const std::string& id, const ContainerStatus& status);
  // Ends every container and starts it again without back-off, and tries at once what waits for a next try.
  // Init containers that are through stay so. conflict: the pod has ended, or is being deleted.
  Result<> restart();
  void sync();  // decide and act; cheap when there is nothing to do
  // What the API was not told, or did not take, is told now.
  void report_now();
  bool owes_report() const { return status_call_ || status_timer_.active(); }

  // The object is gone from the API (or was never there any more after a restart): stop, clean up, then
  // on_gone.
  void orphaned();
  std::function<void()> on_gone;
  std::function<void()> on_image;  // a container is about to be made from an image

 private:
  friend class ContainerStarter;
  struct Probes;

  ContainerRecord& record(const std::string& container) { return state_.containers[container]; }
  client::ObjectRef reference(const std::string& container = "") const;
  DownwardFacts facts() const;
  VolumeDirs volume_dirs() const;
  std::string run_dir() const;  // of the pod's files for /etc
  std::string run_path(const std::string& name) const;

  void act(const PodActions& actions);
  void prepare_volumes();
  void plan_with(ObjectMap objects);
  void make_planned(std::vector<VolumePlan> plans);
  void create_sandbox();
  void attach_network();
  void step_failed(Step& step, const std::string& reason, const Error& error);
  void step_done(Step& step);
  void write_host_files();

  void start_container(const std::string& name);
  void container_started(const std::string& name);
  void container_failed(const std::string& name, const std::string& reason, const std::string& message);
  void stop_container(const Stop& stop);
  void stop_for_restart(const std::string& name);
  bool restart_was_asked(const std::string& name);  // of the current run, of this daemon or one before
  void adopt_container(const AdoptedContainer& container, int attempt);
  void kill_after_hook(const std::string& name);
  void kill_now(const std::string& name);
  void exited(const std::string& name, const ContainerStatus& status);
  std::string termination_message(const ContainerSpec& spec, const ContainerStatus& status) const;
  void note_damage(const std::string& name, const ContainerStatus& status);
  void remove_old_run(std::string id);

  void start_probes(const std::string& name);
  void stop_probes(const std::string& name);
  void schedule_probe(const std::string& name, size_t index);
  void run_probe(const std::string& name, size_t index);
  void probe_result(const std::string& name, size_t index, const ProbeOutcome& outcome);

  void clean_up();
  void clean_containers(std::vector<std::string> ids);
  void clean_network();
  void cleanup_failed(const char* what, const Error& error);
  void cleaned();
  void confirm_deletion();

  void write_status();
  void status_written(Result<client::Reply> reply);
  bool settling();
  int64_t monotonic_of(WallTime past) const;
  void soon();  // sync() in a turn of its own, once

  AgentServices services_;
  PodSpec spec_;
  PodState state_;
  std::map<std::string, std::string> volume_paths_;
  std::map<std::string, std::vector<std::string>> runs_;  // container to ids that may still be in the runtime
  std::map<std::string, std::shared_ptr<ContainerStarter>> starters_;
  std::map<std::string, std::unique_ptr<Probes>> probes_;
  std::map<std::string, std::unique_ptr<Operation>> hooks_;  // pre-stop, by container
  std::map<std::string, std::unique_ptr<loop::Timer>> kill_timers_;
  std::unique_ptr<Operation> volume_fetch_, network_operation_;
  AccountTokens tokens_;
  loop::Timer token_timer_;
  loop::Work volume_work_;
  std::shared_ptr<Result<std::map<std::string, std::string>>> volume_outcome_;
  std::unique_ptr<client::Pending> status_call_, delete_call_;
  loop::Timer wake_, status_timer_;
  std::string written_status_;  // as last accepted by the API
  std::string sending_status_;
  bool sync_pending_ = false, orphaned_ = false, deletion_confirmed_ = false;
  bool last_words_ = false;     // the final status was sent, or tried
  bool settling_ = false;       // adopted: the steps of setting up run again to find all in place
  bool volumes_stale_ = false;  // what they were made from changed
  bool sending_end_ = false;    // the status on its way holds a final phase
  int64_t status_backoff_ms_ = 0;
};

}  // namespace limpet::node
