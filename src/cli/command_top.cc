// limpet top and limpet restart.
#include "base/atomic_file.h"
#include "cli/pods.h"
#include "cli/top.h"
#include "loop/loop.h"
#include "node/runtime/cgroup.h"

namespace limpet::cli {
namespace {

constexpr int64_t one_shot_ms = 500;
constexpr int64_t watch_for_ms = 3'600'000;  // a terminal that is forgotten costs nothing for ever
constexpr size_t max_proc = 1 << 20;

// Containers that run, with the groups they are in.
struct Member {
  ContainerLook who;
  std::string group;
};

std::vector<Member> members(json::Ref pods, const std::string& root) {
  std::vector<Member> out;
  for (json::Ref pod : pods["items"]) {
    const std::string uid(pod["metadata"]["uid"].str());
    for (const char* list : {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
      for (json::Ref s : pod["status"][list]) {
        const std::string_view id = s["containerID"].str();
        constexpr std::string_view scheme = "limpet://";
        if (!s["state"]["running"] || !id.starts_with(scheme)) continue;
        Member m;
        m.who.ns = pod["metadata"]["namespace"].str();
        m.who.pod = pod["metadata"]["name"].str();
        m.who.container = s["name"].str();
        m.group = root + "/pod" + uid + "/" + std::string(id.substr(scheme.size()));
        out.push_back(std::move(m));
      }
    }
  }
  return out;
}

Look look_at(Context& context, const node::Cgroups& cgroups, const std::vector<Member>& who) {
  Look look;
  look.at_ms = context.clock.monotonic_ms();
  look.device = read_device(read_file("/proc/stat", max_proc).value_or(""),
                            read_file("/proc/meminfo", max_proc).value_or(""));
  for (const Member& m : who) {
    const auto usage = cgroups.usage(m.group);
    if (!usage) continue;  // it has just ended, or runs on another device
    ContainerLook c = m.who;
    c.cpu_ns = usage->cpu_ns;
    c.memory = static_cast<int64_t>(usage->memory_working_set);
    c.pids = static_cast<int64_t>(usage->pids);
    look.containers.push_back(std::move(c));
  }
  return look;
}

}  // namespace

Outcome<int> run_top(Context& context) {
  const Arguments& a = context.arguments;
  const auto cgroups = node::Cgroups::detect();
  if (!cgroups)
    return failed(exit_failed, "the kernel's control groups cannot be read: " + cgroups.error().message);
  const int64_t every_ms = a.watch_s ? *a.watch_s * 1000 : one_shot_ms;
  const int64_t end_ms = context.clock.monotonic_ms() + (a.watch_s ? watch_for_ms : 0);
  std::optional<Look> before;
  for (;;) {
    const auto pods = context.daemon.get("/api/v1/pods");
    if (!pods) return std::unexpected(pods.error());
    const auto status = context.daemon.get("/limpet/v1/status");
    if (!status) return std::unexpected(status.error());
    const std::vector<Member> who = members(pods->ref(), std::string(status->ref()["cgroupRoot"].str()));
    if (!before) {
      before = look_at(context, *cgroups, who);
      (void)context.daemon.loop().run_until([] { return false; }, one_shot_ms);
    }
    Look now = look_at(context, *cgroups, who);
    now.disk_total = status->ref()["disk"]["totalBytes"].integer();
    now.disk_free = status->ref()["disk"]["freeBytes"].integer();
    const TopPage page = compare(*before, now, a.by_memory ? TopOrder::memory : TopOrder::cpu);
    std::string text = a.json ? top_json(page) : top_text(page, context.output.width);
    if (a.watch_s && !a.json) text = context.output.out_terminal ? "\033[H\033[J" + text : text + "\n";
    const auto shown = print(context, text);
    if (!shown || context.clock.monotonic_ms() + every_ms > end_ms) return shown;
    before = std::move(now);
    (void)context.daemon.loop().run_until([] { return false; }, every_ms);
  }
}

Outcome<int> run_restart(Context& context) {
  const auto name = named_pod(context);
  if (!name) return std::unexpected(name.error());
  const auto answer = context.daemon.ask("POST", "/limpet/v1/pods/" + http::percent_encode(name->ns) + "/" +
                                                     http::percent_encode(name->pod) + "/restart");
  if (!answer) {
    if (answer.error().code != exit_not_found) return std::unexpected(answer.error());
    return failed(exit_not_found,
                  strf("the pod %s of the namespace %s does not run on this device\ntry: limpet ps -A",
                       name->pod.c_str(), name->ns.c_str()));
  }
  const auto parsed = json::parse(*answer);
  const size_t n = parsed ? parsed->ref()["containers"].size() : 0;
  return print(context, strf("%s: %zu container%s restarted\n", name->pod.c_str(), n, n == 1 ? "" : "s"));
}

}  // namespace limpet::cli
