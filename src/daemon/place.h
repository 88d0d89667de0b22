// Which cluster this device was let into, as files of dataDir, so that a join that was cut short is either
// not begun or goes on at the next start.
//
//   cluster.json   where it belongs: cluster, role, this member's id, the servers that it was told of
//   join/          the key of this device while it asks, and what is not whole yet
//   joining/       what a join brought (pki/ and cluster.json), whole since it was renamed into place; the
//                  next start makes it this device's, in place of what the device was before
//   join.json      the order to join, written by `limpet join` while no limpetd runs; it goes before
//                  everything that the device is
//
// A device that began a cluster of its own has none of them. Blocking file work, durable when it returns.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "peer/directory.h"
#include "pki/install.h"
#include "raft/types.h"

namespace limpet::daemon {

struct Place {
  std::string cluster;  // 16 bytes
  bool agent = false;
  // What a server was let in as. 0 once its store has it: a device that lost its store must not come back as
  // who it was, who may have voted.
  raft::MemberId member = 0;
  std::vector<peer::Member> servers;  // addresses of port 6444
  std::vector<std::string> api;       // "HOST:PORT" of their APIs
  bool operator==(const Place&) const = default;
};

std::string encode(const Place& place);
Result<Place> decode_place(std::string_view text);
// Nothing: a cluster of its own.
Result<std::optional<Place>> read_place(const std::string& data_dir);
Result<> write_place(const std::string& data_dir, const Place& place);

struct JoinOrder {
  std::string url, token;
  bool agent = false;
  bool operator==(const JoinOrder&) const = default;
};
Result<std::optional<JoinOrder>> read_order(const std::string& data_dir);
Result<> write_order(const std::string& data_dir, const JoinOrder& order);
Result<> drop_order(const std::string& data_dir);

// Whether a server wrote a store here: with no place, that of a cluster of its own.
bool has_own_store(const std::string& data_dir);

// "server" or "agent": what a join has made of the device that is to be finished, what it was told to become
// by `limpet join`, or what it was let in as; else what the configuration says. Before anybody holds dataDir:
// files that cannot be read say nothing.
std::string role_of(const std::string& data_dir, const std::string& configured);

// Where a join is prepared; pki/ below it is that of pki/install.h.
std::string join_directory(const std::string& data_dir);
// Nothing of the device changes yet.
Result<> stage_join(const std::string& data_dir, const Place& place, const pki::Joined& joined,
                    Random& random);
// With nobody else at work on dataDir. True when there was a staged join: the device has an empty store now,
// and keys and certificates of the cluster that it joins. Images, pods and logs stay.
Result<bool> finish_join(const std::string& data_dir);

}  // namespace limpet::daemon
