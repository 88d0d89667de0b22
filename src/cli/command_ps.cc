// limpet ps.
#include <algorithm>

#include "cli/format.h"
#include "cli/pods.h"
#include "cli/pulls.h"

namespace limpet::cli {
namespace {

std::string as_json(const std::vector<PodLine>& pods) {
  json::Writer w;
  w.begin_array();
  for (const PodLine& p : pods) {
    w.begin_object().field("namespace", p.ns).field("pod", p.name).field("phase", p.phase);
    w.field("ip", p.ip).field("node", p.node).field("createdAt", p.created);
    w.field("terminating", p.terminating).field("message", p.why);
    w.key("containers").begin_array();
    for (const ContainerLine& c : p.containers) {
      w.begin_object().field("name", c.name).field("image", c.image).field("init", c.init);
      w.field("state", c.state).field("running", c.running).field("ready", c.ready);
      w.field("restarts", c.restarts).field("since", c.since).end_object();
    }
    w.end_array().end_object();
  }
  w.end_array();
  return w.take() + "\n";
}

std::string as_table(const std::vector<PodLine>& pods, bool with_namespace, WallTime now, size_t width) {
  std::vector<std::string> header{"POD", "CONTAINER", "STATE", "RESTARTS", "AGE", "IP"};
  if (with_namespace) header.insert(header.begin(), "NAMESPACE");
  Table table(std::move(header));
  for (const PodLine& p : pods) {
    for (const ContainerLine& c : p.containers) {
      std::string state = c.state;
      if (p.terminating) state = c.running ? "Terminating" : state;
      if (p.node.empty()) state = "Unscheduled";
      std::vector<std::string> row{p.name,
                                   c.init ? c.name + " (init)" : c.name,
                                   state,
                                   std::to_string(c.restarts),
                                   age(p.created, now),
                                   p.ip};
      if (with_namespace) row.insert(row.begin(), p.ns);
      table.add(std::move(row));
    }
  }
  return table.text(width);
}

// What containers wait for whose image is on its way. A daemon of before tells nothing of pulls.
Outcome<int> show_pulls(Context& context, const std::vector<PodLine>& pods) {
  const bool waits = std::any_of(pods.begin(), pods.end(),
                                 [](const PodLine& p) { return p.phase == "Pending" && !p.node.empty(); });
  if (!waits) return exit_done;
  const auto images = context.daemon.get("/limpet/v1/images");
  if (!images) return exit_done;
  for (json::Ref pull : images->ref()["pulls"]) {
    if (!context.output.out(labelled("pulling:", pull_text(pull), 0, context.output.width)))
      return failed(exit_failed, "");
  }
  return exit_done;
}

}  // namespace

Outcome<int> run_ps(Context& context) {
  const Arguments& a = context.arguments;
  const auto pods = list_pods(context, a.all_namespaces ? "" : a.ns);
  if (!pods) return std::unexpected(pods.error());
  if (a.json) return print(context, as_json(*pods));
  if (pods->empty()) {
    // Not on standard output: programs read an empty list there.
    (void)context.output.err(
        a.all_namespaces ? std::string("limpet: no pods on this device\n")
                         : strf("limpet: no pods in the namespace %s; all: limpet ps -A\n", a.ns.c_str()));
    return exit_done;
  }
  auto shown = print(context, as_table(*pods, a.all_namespaces, context.clock.wall(), context.output.width));
  if (!shown) return shown;
  for (const PodLine& p : *pods) {
    if (p.why.empty()) continue;
    if (!context.output.out(labelled(p.name + ":", p.why, 0, context.output.width)))
      return failed(exit_failed, "");
  }
  return show_pulls(context, *pods);
}

}  // namespace limpet::cli
