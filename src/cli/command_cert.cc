// limpet cert: certificates before their time, and another authority for the cluster.
#include "cli/commands.h"
#include "cli/format.h"

namespace limpet::cli {

Outcome<int> run_cert_rotate(Context& context) {
  const Arguments& a = context.arguments;
  if (a.patience_s && !a.authority) return failed(exit_usage, "--patience is of use with --ca only");
  json::Writer w;
  w.begin_object();
  if (a.patience_s) w.field("patienceSeconds", *a.patience_s);
  w.end_object();
  const auto answer = context.daemon.ask(
      "POST", a.authority ? "/limpet/v1/cluster/authority" : "/limpet/v1/cluster/certificates", w.take());
  if (!answer) return std::unexpected(answer.error());
  if (a.json) return print(context, *answer + "\n");
  const json::Cursor document(*answer);
  return print(context, labelled("", printable(document["message"].str()), 0, context.output.width));
}

namespace {

std::string joined(json::Ref list) {
  std::string out;
  for (const json::Ref one : list) out += (out.empty() ? "" : ", ") + printable(one.str());
  return out;
}

std::string of_cluster(json::Ref d, size_t width) {
  std::string text = labelled("authority:", printable(d["step"].str()), 11, width);
  if (!d["since"].str().empty()) text += labelled("since:", printable(d["since"].str()), 11, width);
  const std::string names = joined(d["waitsFor"]);
  if (!names.empty()) text += labelled("waits for:", names, 11, width);
  return text;
}

// An agent's own: of the replacement it knows no more than whom it trusts.
std::string of_agent(json::Ref d, size_t width) {
  constexpr size_t column = 13;
  const json::Ref c = d["certificate"];
  std::string text = labelled("device:", printable(d["device"].str()), column, width);
  text +=
      labelled("certificate:",
               strf("until %s (%lld days), of %s", printable(c["notAfter"].str()).c_str(),
                    static_cast<long long>(c["daysLeft"].integer()), printable(c["issuer"].str()).c_str()),
               column, width);
  text += labelled("renewed:", "from " + printable(c["renewAt"].str()) + " on", column, width);
  text += labelled("trusts:", joined(d["authorities"]), column, width);
  const std::string problem = printable(d["problem"].str());
  if (!problem.empty()) text += labelled("problem:", problem, column, width);
  return text;
}

}  // namespace

Outcome<int> run_cert_status(Context& context) {
  const auto document = context.daemon.get("/limpet/v1/cluster/authority");
  if (!document) return std::unexpected(document.error());
  const json::Ref d = document->ref();
  if (context.arguments.json) return print(context, d.dump() + "\n");
  const size_t width = context.output.width;
  return print(context, d["certificate"] ? of_agent(d, width) : of_cluster(d, width));
}

}  // namespace limpet::cli
