// Where servers say that they are reached, as long as the cluster's records do not have it.
//
// A server that moved tells whoever it reaches. The leader writes that down; any other server tells the
// leader, since two that moved at once may reach a third one only, which alone knows both. Once the record
// has it, it is everybody's. What the leader itself hears of a server counts more than what others tell of
// it. Loop thread; owned by the peers' part.
//
//   POST /limpet/v1/cluster/addresses   of one server to another: {"member", "addresses"} (cluster/device.h)
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cluster_access.h"
#include "daemon/member_records.h"
#include "daemon/part.h"
#include "http/message.h"

namespace limpet::daemon {

class MemberAddresses {
 public:
  static constexpr std::string_view path = "/limpet/v1/cluster/addresses";

  // All of them outlive this.
  MemberAddresses(Device& device, const MemberRecords& records);
  MemberAddresses(const MemberAddresses&) = delete;

  // The member has said so itself; in the order in which they are to be tried, its own first.
  void learned(raft::MemberId member, std::vector<std::string> addresses);
  // Of this server, which has `own`: in that term; 0: no more.
  void lead(uint64_t term, std::vector<std::string> own);
  void records_changed();
  void take_report(const http::ExchangePtr& exchange);

 private:
  bool is_news(raft::MemberId member, const std::vector<std::string>& addresses) const;
  void own_record();
  void at_once();
  void settle();
  void tell();
  void write(const MemberRecord& record, const std::vector<std::string>& addresses);

  Device& device_;
  const MemberRecords& records_;
  std::map<raft::MemberId, std::vector<std::string>> news_;
  std::vector<std::string> own_;
  uint64_t term_ = 0;  // leads in it
  loop::Timer again_;
  int64_t wait_ms_;
  raft::MemberId told_ = 0;  // of whom last
  std::unique_ptr<api::Forwarding> telling_;
};

}  // namespace limpet::daemon
