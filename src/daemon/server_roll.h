// The servers of the cluster as an agent was told last, kept for its next start: the one that the
// configuration names may be gone by then.
//
//   DATADIR/servers.json: [{"name","member":"16 hex digits","addresses":["HOST:PORT", ...],"apiPort":6443},
//   ...]
//
// Written when the roll differs from what is there, atomically: a handful of times in a device's life.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/servers.h"
#include "peer/wire.h"

namespace limpet::daemon {

using ServerRoll = std::vector<peer::ServerEntry>;

std::string roll_text(const ServerRoll& roll);
// `corrupt` for anything that roll_text() would not have made of a roll that fits the wire.
Result<ServerRoll> parse_roll(std::string_view text);

// An empty roll when there is no file; one that is damaged is logged and counts as none.
ServerRoll load_roll(const std::string& path);

// Where the API of these servers is: each host that a server listens on, with its API port.
std::vector<client::Server> api_servers(const ServerRoll& roll);

}  // namespace limpet::daemon
