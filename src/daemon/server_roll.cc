#include "daemon/server_roll.h"

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/log.h"
#include "cluster/device.h"
#include "peer/address.h"
#include "peer/text.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_roll_bytes = size_t{256} * 1024;

Result<peer::ServerEntry> parse_server(json::Ref s) {
  peer::ServerEntry out;
  out.name = s["name"].str();
  if (!peer::is_name(out.name)) return fail(Errc::corrupt, "a server has no proper name");
  out.member = cluster::parse_member(s["member"].str());
  if (out.member == 0) return fail(Errc::corrupt, out.name + ": no id of a member");
  const int64_t port = s["apiPort"].integer();
  if (port < 1 || port > 65535) return fail(Errc::corrupt, out.name + ": no proper port");
  out.api_port = static_cast<uint16_t>(port);
  for (json::Ref a : s["addresses"]) {
    TRY(const peer::Address address, peer::parse_address(a.str()));
    if (out.addresses.size() == peer::kMaxAddresses)
      return fail(Errc::corrupt, out.name + ": too many addresses");
    out.addresses.push_back(address.text());
  }
  return out;
}

}  // namespace

std::string roll_text(const ServerRoll& roll) {
  json::Writer w;
  w.begin_array();
  for (const peer::ServerEntry& s : roll) {
    w.begin_object().field("name", s.name);
    w.field("member", cluster::member_text(s.member));
    w.key("addresses").begin_array();
    for (const std::string& a : s.addresses) w.string(a);
    w.end_array().field("apiPort", static_cast<int64_t>(s.api_port)).end_object();
  }
  w.end_array();
  return w.take() + "\n";
}

Result<ServerRoll> parse_roll(std::string_view text) {
  TRY(const json::Value value, json::parse(text));
  if (!value.ref().is_array()) return fail(Errc::corrupt, "no list of servers");
  ServerRoll roll;
  for (json::Ref s : value.ref()) {
    if (roll.size() == peer::kMaxServers) return fail(Errc::corrupt, "too many servers");
    TRY(peer::ServerEntry server, parse_server(s));
    roll.push_back(std::move(server));
  }
  return roll;
}

ServerRoll load_roll(const std::string& path) {
  const auto text = read_file(path, max_roll_bytes);
  if (!text && text.error().code == Errc::not_found) return {};
  const auto roll = text ? parse_roll(*text) : std::unexpected(text.error());
  if (roll) return *roll;
  log::warning("the list of servers cannot be read, going on with the configured one",
               {{"file", path}, {"error", roll.error()}});
  return {};
}

std::vector<client::Server> api_servers(const ServerRoll& roll) {
  std::vector<client::Server> out;
  for (const peer::ServerEntry& s : roll) {
    for (const std::string& text : s.addresses) {
      if (const auto address = peer::parse_address(text)) out.push_back({address->host, s.api_port});
    }
  }
  return out;
}

}  // namespace limpet::daemon
