// Who the servers of the cluster are: a live copy of limpet/members/ (cluster/device.h).
//
// A record is written when a device is let in as a server, follows its addresses, and goes when it is
// removed. A cluster of one that nobody joined has none. Every server has this copy of its own state.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "cluster/device.h"
#include "daemon/mirror.h"
#include "loop/loop.h"
#include "store/store.h"

namespace limpet::daemon {

struct MemberRecord {
  cluster::Device device;
  store::Revision revision = 0;  // of the record itself, for updates
};

class MemberRecords {
 public:
  // `changed` comes on later turns of the loop; the store outlives this.
  MemberRecords(loop::Loop& loop, store::Space& space, loop::Task changed);

  bool known() const { return mirror_.known(); }
  const std::map<raft::MemberId, MemberRecord>& all() const { return records_; }
  const MemberRecord* find(raft::MemberId id) const;
  const MemberRecord* find(std::string_view name) const;

 private:
  void read();

  loop::Task changed_;
  std::map<raft::MemberId, MemberRecord> records_;
  Mirror mirror_;
};

}  // namespace limpet::daemon
