// limpet token, join and node: how devices come into a cluster and leave it.
#include <unistd.h>

#include "base/atomic_file.h"
#include "cli/command_doctor.h"
#include "cli/commands.h"
#include "cli/device_config.h"
#include "cli/format.h"
#include "cluster/token.h"
#include "daemon/place.h"
#include "store/data_dir_lock.h"

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

// What the device is keeps it from joining unasked; empty: nothing does.
std::string refusal(const DeviceConfig& device, bool discard) {
  const std::string& data_dir = device.paths.data_dir;
  const auto place = daemon::read_place(data_dir);
  if (!place) return place.error().message;
  if (*place && !(*place)->agent) {
    return "this device is a server of a cluster already: remove it there with limpet node remove, then "
           "limpet "
           "reset here";
  }
  if (*place || discard || !daemon::has_own_store(data_dir)) return "";
  return "this device has a cluster of its own: start limpetd, which looks whether it holds anything, or say "
         "with --discard that what it holds may go";
}

// Where no limpetd runs: it joins when it is started.
Outcome<int> leave_order(Context& context, const DeviceConfig& device) {
  const Arguments& a = context.arguments;
  if (geteuid() != 0) return failed(exit_failed, "this needs root");
  if (const auto token = cluster::parse_token(a.positional[1]); !token)
    return failed(exit_failed, token.error().message);
  const auto url = http::parse_url(a.positional[0]);
  if (!url || !url->origin.tls)
    return failed(exit_failed, a.positional[0] + ": a URL of the form https://HOST:6443 is wanted");
  const std::string& data_dir = device.paths.data_dir;
  if (const auto made = make_directories(data_dir, 0700); !made)
    return failed(exit_failed, made.error().message);
  const auto lock = store::lock_data_dir(data_dir);
  if (!lock) return failed(exit_failed, lock.error().message);
  if (const std::string why = refusal(device, a.discard); !why.empty()) return failed(exit_failed, why);
  const auto place = daemon::read_place(data_dir);
  const bool was_agent = place && *place ? (*place)->agent : device.config.role == "agent";
  const daemon::JoinOrder order{a.positional[0], a.positional[1],
                                a.role.empty() ? was_agent : a.role == "agent"};
  if (const auto written = daemon::write_order(data_dir, order); !written)
    return failed(exit_failed, written.error().message);
  const std::string text = strf("limpetd does not run: start it, and it asks %s to be let in as %s",
                                order.url.c_str(), order.agent ? "an agent" : "a server");
  if (!a.json) return print(context, labelled("", text, 0, context.output.width));
  json::Writer w;
  w.begin_object().field("message", text).end_object();
  return print(context, w.take() + "\n");
}

// Why limpetd could not be asked: it does not run, it is not that far yet, or what `why` says.
Outcome<int> without_answer(Context& context, const Failure& why) {
  const DeviceConfig device = read_device_config(context.arguments);
  if (!device.problem.empty()) return failed(exit_failed, "the configuration is wrong: " + device.problem);
  const int64_t pid = data_dir_holder(device.paths.data_dir);
  if (pid == 0) return leave_order(context, device);
  if (access(context.daemon.socket_path().c_str(), F_OK) == 0) return std::unexpected(why);
  return failed(
      exit_failed,
      strf("limpetd (pid %lld) starts and cannot be asked yet; if its log says that it waits to be let "
           "in, change join.url and the token and send it SIGHUP, or stop it and try again",
           static_cast<long long>(pid)));
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
      strf("good %s%s, %s, for one more %s; on that device: limpet join %s TOKEN%s",
           made["expires"].str().empty() ? "until it is removed" : "until ", made["expires"].str().c_str(),
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
  const auto answer = daemon.ask("POST", "/limpet/v1/cluster/join", w.take());
  if (!answer && answer.error().code == exit_unreachable) return without_answer(context, answer.error());
  return say_message(context, answer);
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
