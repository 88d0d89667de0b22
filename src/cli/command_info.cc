// limpet kubeconfig and limpet version.
#include "cli/commands.h"

namespace limpet::cli {

Outcome<int> run_kubeconfig(Context& context) {
  const auto text = context.daemon.ask("GET", "/limpet/v1/kubeconfig");
  if (!text) return std::unexpected(text.error());
  if (!text->starts_with("apiVersion:")) {
    return failed(exit_failed, "what answers on " + context.daemon.socket_path() + " gave no kubeconfig");
  }
  return print(context, *text);
}

// Says its own version whatever limpetd does.
Outcome<int> run_version(Context& context) {
  const auto daemon = context.daemon.get("/limpet/v1/version");
  json::Value document = json::Value::object();
  document.ref().set("limpet", LIMPET_VERSION);
  std::string text = strf("limpet   %s\n", LIMPET_VERSION);
  if (daemon) {
    document.ref().set("limpetd", daemon->clone());
    const std::string version(daemon->ref()["version"].str("?")), api(daemon->ref()["apiVersion"].str("?"));
    text += strf("limpetd  %s, Kubernetes API %s\n", version.c_str(), api.c_str());
  }
  auto shown = print(context, context.arguments.json ? document.ref().dump() + "\n" : text);
  if (!shown || daemon) return shown;
  return std::unexpected(daemon.error());
}

}  // namespace limpet::cli
