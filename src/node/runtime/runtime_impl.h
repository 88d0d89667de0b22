// The Runtime behind runtime.h: what is under way for each pod and container. Private to this room.
//
// Each operation is a chain of callbacks: blocking parts on the pool (bundle.h), commands as child processes,
// the rest as frames to the shim. A container's Entry lives from create() or adopt() until remove() has
// cleaned up.
#pragma once

#include <list>
#include <map>
#include <set>

#include "loop/process.h"
#include "node/runtime/bundle.h"
#include "node/runtime/runtime.h"
#include "node/runtime/shim_link.h"

namespace limpet::node {

class RuntimeImpl final : public Runtime {
 public:
  RuntimeImpl(loop::Loop& loop, RuntimeOptions options);
  ~RuntimeImpl() override;

  void adopt(std::function<void(Result<Adopted>)> done) override;
  void create_sandbox(SandboxConfig config, std::function<void(Result<SandboxInfo>)> done) override;
  void remove_sandbox(const std::string& pod_uid, Done done) override;
  void create(ContainerConfig config, Done done) override;
  void start(const std::string& id, Done done) override;
  void kill(const std::string& id, int signal, Done done) override;
  void remove(const std::string& id, Done done) override;
  const ContainerStatus* status(const std::string& id) const override;
  void on_change(std::function<void(const std::string&, const ContainerStatus&)> f) override;
  std::unique_ptr<Session> exec(ExecConfig config, Session::Events events) override;
  std::unique_ptr<Session> attach(AttachConfig config, Session::Events events) override;
  Result<Usage> usage(const std::string& container_id) override;
  Result<Usage> pod_usage(const std::string& pod_uid) override;
  std::string version() const override { return version_; }

 private:
  struct Pod {
    SandboxConfig config;
    bool busy = false;  // being made or removed
  };
  struct Entry {
    std::string id, pod_uid;
    bool tty = false;
    ContainerStatus status;
    std::unique_ptr<ShimLink> link;
    bool making = false;  // create() has not come back
    bool removing = false;
    bool had_runtime = false;          // crun or runc may know it
    std::function<void()> on_settled;  // create: left `creating`; remove, start: exited
    std::vector<Done> remove_done;
    std::unique_ptr<loop::Timer> deadline;
  };
  using ProcessDone = std::function<void(Result<loop::ProcessExit>)>;

  // Helpers that keep what they start until it is done; `done` is dropped when the Runtime goes first.
  void blocking(std::function<Result<>()> work, Done done);
  void command(loop::ProcessOptions options, ProcessDone done);
  loop::ProcessOptions runtime_command(std::vector<std::string> args) const;
  BundleJob job(const std::string& pod_uid, const std::string& id) const;
  Entry* find(const std::string& id);

  void detect(std::vector<std::string> candidates, Done done);
  void take_over(Found found, const std::function<void(Result<Adopted>)>& done);

  void make_namespaces(const std::string& pod_uid, std::function<void(Result<SandboxInfo>)> done);
  void abandon_sandbox(const std::string& pod_uid, Error error,
                       std::function<void(Result<SandboxInfo>)> done);
  void start_shim(const ContainerConfig& config, Done done);
  void wait_created(const std::string& id, Done done);
  void abandon(const std::string& id, Error error, Done done);
  Result<> connect(Entry& entry);
  void shim_frame(const std::string& id, uint8_t type, std::string_view payload);
  void shim_lost(const std::string& id);
  void settle(const std::string& id);

  void teardown(const std::string& id, Done done);  // whatever its state; the entry is gone afterwards
  void teardown_runtime(const std::string& id, Done done);
  void when_exited(const std::string& id, int64_t limit_ms, std::function<void()> next);
  void finish_remove(const std::string& id, Result<> result);

  loop::Loop& loop_;
  RuntimeOptions options_;
  Places places_;
  std::shared_ptr<const Cgroups> cgroups_;
  std::string runtime_path_, shim_path_, version_;
  std::map<std::string, Pod> pods_;
  std::map<std::string, Entry> entries_;
  std::function<void(const std::string&, const ContainerStatus&)> on_change_;
  std::list<std::unique_ptr<loop::Work>> works_;
  std::list<std::unique_ptr<loop::Process>> processes_;
  uint64_t exec_counter_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace limpet::node
