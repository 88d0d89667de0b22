// limpet cluster status: the servers of the cluster, as the leader sees them where it can be asked.
#include "cli/commands.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

std::string ago(json::Ref member) {
  if (member["self"].boolean()) return "here";
  const int64_t seconds = member["contactSeconds"].integer(-1);
  if (seconds < 0) return "never";
  return seconds < 2 ? "now" : strf("%llds ago", static_cast<long long>(seconds));
}

std::string behind(json::Ref member) {
  if (!member["behind"]) return "?";
  return strf("%lld", static_cast<long long>(member["behind"].integer()));
}

std::string table_of(json::Ref document, size_t width) {
  Table table({"SERVER", "ROLE", "CONTACT", "BEHIND", "ADDRESS", "VERSION"});
  for (json::Ref m : document["members"]) {
    const std::string role(m["leader"].boolean() ? std::string("leader") : std::string(m["role"].str()));
    std::string addresses;
    for (json::Ref a : m["addresses"]) addresses += (addresses.empty() ? "" : " ") + std::string(a.str());
    table.add({printable(m["name"].str()), role, ago(m), behind(m), printable(addresses),
               printable(m["version"].str())});
  }
  return table.text(width);
}

}  // namespace

Outcome<int> run_cluster_status(Context& context) {
  const auto document = context.daemon.get("/limpet/v1/cluster");
  if (!document) return std::unexpected(document.error());
  const json::Ref d = document->ref();
  const bool well = d["health"]["ok"].boolean();
  const int status = well ? exit_done : exit_failed;
  if (context.arguments.json) return print(context, d.dump() + "\n", status);
  const size_t width = context.output.width;
  std::string text = labelled("cluster:", std::string(d["cluster"].str()), 9, width);
  text += labelled("health:", printable(d["health"]["message"].str()), 9, width);
  if (!d["seenBy"].str().empty()) text += labelled("seen by:", printable(d["seenBy"].str()), 9, width);
  text += "\n" + table_of(d, width);
  for (json::Ref m : d["members"]) {
    const std::string problem = printable(m["problem"].str());
    if (!problem.empty()) text += labelled(printable(m["name"].str()) + ":", problem, 0, width);
  }
  return print(context, text, status);
}

}  // namespace limpet::cli
