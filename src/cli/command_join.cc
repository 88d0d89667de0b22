// limpet token, join and node: how devices come into a cluster and leave it.
#include "cli/commands.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

constexpr int64_t join_answer_ms = 60'000;

std::string segment(const std::string& name) { return http::percent_encode(name); }

// What limpetd says it did, for people.
Outcome<int> say_message(Context& context, const Outcome<std::string>& answer) {
  if (!answer) return std::unexpected(answer.error());
  const json::Cursor document(*answer);
  if (context.arguments.json) return print(context, *answer + "\n");
  return print(context, labelled("", printable(document["message"].str()), 0, context.output.width));
}

}  // namespace

Outcome<int> run_token_create(Context& context) {
  const Arguments& a = context.arguments;
  json::Writer w;
  w.begin_object().field("role", a.role.empty() ? "agent" : a.role);
  w.field("ttlSeconds", a.ttl_s.value_or(24 * 3600));
  if (a.uses) w.field("uses", *a.uses);
  w.field("description", a.description).end_object();
  const auto answer = context.daemon.ask("POST", "/limpet/v1/tokens", w.take());
  if (!answer) return std::unexpected(answer.error());
  if (a.json) return print(context, *answer + "\n");
  const json::Cursor made(*answer);
  // The token alone on standard output, so that it can be caught by a script.
  (void)context.output.err(labelled(
      "",
      strf("good until %s, %s, for one more %s; on that device: limpet join %s TOKEN%s",
           made["expires"].str().c_str(),
           a.uses ? strf("%lld times", static_cast<long long>(*a.uses)).c_str() : "any number of times",
           made["role"].str().c_str(), made["url"].str().c_str(),
           made["role"].str() == "server" ? " --role server" : ""),
      0, context.output.width));
  return print(context, made["token"].str() + "\n");
}

Outcome<int> run_token_ls(Context& context) {
  const auto document = context.daemon.get("/limpet/v1/tokens");
  if (!document) return std::unexpected(document.error());
  if (context.arguments.json) return print(context, document->ref()["items"].dump() + "\n");
  Table table({"ID", "ROLE", "EXPIRES", "USES LEFT", "DESCRIPTION"});
  for (json::Ref t : document->ref()["items"]) {
    table.add({std::string(t["id"].str()), std::string(t["role"].str()),
               std::string(t["expires"].str("never")),
               t["usesLeft"] ? strf("%lld", static_cast<long long>(t["usesLeft"].integer())) : "any",
               printable(t["description"].str())});
  }
  if (table.empty()) {
    (void)context.output.err("limpet: no tokens; make one with limpet token create\n");
    return exit_done;
  }
  return print(context, table.text(context.output.width));
}

Outcome<int> run_token_rm(Context& context) {
  return say_message(
      context, context.daemon.ask("DELETE", "/limpet/v1/tokens/" + segment(context.arguments.positional[0])));
}

Outcome<int> run_join(Context& context) {
  const Arguments& a = context.arguments;
  json::Writer w;
  w.begin_object().field("url", a.positional[0]).field("token", a.positional[1]);
  w.field("role", a.role).field("discard", a.discard).end_object();
  Connection daemon(context.daemon.loop(), context.daemon.socket_path(), join_answer_ms);
  return say_message(context, daemon.ask("POST", "/limpet/v1/cluster/join", w.take()));
}

Outcome<int> run_node_remove(Context& context) {
  return say_message(context, context.daemon.ask("DELETE", "/limpet/v1/cluster/nodes/" +
                                                               segment(context.arguments.positional[0])));
}

Outcome<int> run_node_revoke(Context& context) {
  return say_message(context,
                     context.daemon.ask("POST", "/limpet/v1/cluster/nodes/" +
                                                    segment(context.arguments.positional[0]) + "/revoke"));
}

}  // namespace limpet::cli
