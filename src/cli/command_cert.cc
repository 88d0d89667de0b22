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

Outcome<int> run_cert_status(Context& context) {
  const auto document = context.daemon.get("/limpet/v1/cluster/authority");
  if (!document) return std::unexpected(document.error());
  const json::Ref d = document->ref();
  if (context.arguments.json) return print(context, d.dump() + "\n");
  const size_t width = context.output.width;
  std::string text = labelled("authority:", printable(d["step"].str()), 11, width);
  if (!d["since"].str().empty()) text += labelled("since:", printable(d["since"].str()), 11, width);
  std::string names;
  for (const json::Ref name : d["waitsFor"]) names += (names.empty() ? "" : ", ") + printable(name.str());
  if (!names.empty()) text += labelled("waits for:", names, 11, width);
  return print(context, text);
}

}  // namespace limpet::cli
