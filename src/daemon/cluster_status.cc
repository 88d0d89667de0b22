#include "daemon/cluster_status.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "base/json.h"
#include "daemon/member_records.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr int64_t lan_contact_s = 5, metered_contact_s = 60;

struct Row {
  raft::MemberId id = 0;
  std::string name;
  std::string role;
  std::vector<std::string> addresses;
  std::string version, problem;
  int64_t contact_s = -1;
  std::optional<int64_t> behind;
};

bool has(const std::vector<raft::MemberId>& list, raft::MemberId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

class View {
 public:
  explicit View(const Device& device)
      : device_(device), group_(device.store->consensus()), status_(group_.status()) {
    rows();
  }

  std::string json() const {
    json::Writer w;
    w.begin_object().field("cluster", hex(group_.cluster())).field("self", device_.node_name);
    w.field("leader", name_of(status_.standing.leader));
    w.field("term", static_cast<int64_t>(status_.standing.term)).field("seenBy", device_.node_name);
    write_health(w);
    w.key("members").begin_array();
    for (const auto& [id, row] : rows_) write(w, row);
    w.end_array().end_object();
    return w.take();
  }

 private:
  void rows() {
    for (const auto& [id, record] : device_.members->all()) {
      Row& row = rows_[id];
      row.name = record.device.name;
      row.addresses = record.device.addresses;
      row.version = record.device.version;
      row.role = "joining";
    }
    for (const raft::MemberId id : status_.membership.all()) {
      const bool voter = has(status_.membership.voters, id);
      const bool known = is_wanted(id);
      rows_[id].role = !known                                 ? "leaving"
                       : voter                                ? "voter"
                       : has(status_.membership.learners, id) ? "learner"
                                                              : "leaving";
    }
    for (auto& [id, row] : rows_) row.id = id;
    Row& own = rows_[group_.self()];
    own.id = group_.self();
    own.contact_s = 0;
    own.version = LIMPET_VERSION;
    if (own.name.empty()) own.name = device_.node_name;
    links();
    lags();
  }

  void links() {
    const int64_t now = device_.loop.now_ms();
    for (const peer::PeerStats& p : device_.peers->stats().peers) {
      const auto row = rows_.find(p.member);
      if (row == rows_.end() || p.member == group_.self()) continue;
      if (row->second.name.empty()) row->second.name = p.name;
      if (p.last_contact_ms >= 0) row->second.contact_s = (now - p.last_contact_ms) / 1000;
      if (!p.software.empty()) row->second.version = p.software.substr(p.software.rfind(' ') + 1);
      if (p.state != peer::LinkState::up) row->second.problem = p.last_error;
    }
  }

  void lags() {
    if (status_.standing.role != raft::Role::leader) return;
    rows_[group_.self()].behind = 0;
    for (const raft::PeerStatus& p : status_.peers) {
      const auto row = rows_.find(p.id);
      if (row != rows_.end() && p.match > 0)
        row->second.behind = static_cast<int64_t>(status_.last - std::min(p.match, status_.last));
    }
  }

  // A cluster of one that nobody joined has no records.
  bool is_wanted(raft::MemberId id) const {
    const MemberRecord* record = device_.members->find(id);
    return record ? record->device.state == cluster::DeviceState::active : device_.members->all().empty();
  }

  std::string name_of(raft::MemberId id) const {
    const auto row = rows_.find(id);
    return row == rows_.end() ? "" : row->second.name;
  }

  // Heartbeats come every half second, or every ten.
  bool in_contact(const Row& row) const {
    const int64_t limit = device_.config.cluster.profile == "metered" ? metered_contact_s : lan_contact_s;
    return row.contact_s >= 0 && row.contact_s < limit;
  }

  void write_health(json::Writer& w) const {
    const size_t voters = status_.membership.voters.size();
    const size_t majority = voters / 2 + 1;
    size_t there = 0;
    for (const raft::MemberId id : status_.membership.voters) {
      const auto row = rows_.find(id);
      if (row != rows_.end() && in_contact(row->second)) there++;
    }
    const bool leader = status_.standing.leader != 0;
    const bool full = there == voters;
    const bool leads = status_.standing.role == raft::Role::leader;
    std::string text;
    if (voters == 0) {
      text = "this server waits to be told by the leader";
    } else if (!leads) {
      // Servers that follow hear of the leader alone.
      text = leader ? "the leader, " + name_of(status_.standing.leader) + ", could not be asked"
                    : std::string("no leader is known here: nothing can be written");
    } else if (there < majority || !leader) {
      text = strf("no writes: %zu of %zu voters are in contact, %zu are needed%s", there, voters, majority,
                  leader ? "" : ", and no leader is known");
    } else if (there == majority && !full) {
      text = strf("%zu of %zu voters are in contact: one more loss stops writes", there, voters);
    } else {
      text = strf("%zu of %zu voters are in contact: %zu may be lost", there, voters, there - majority);
    }
    const bool ok = leads && voters != 0 && leader && there >= majority && (full || there > majority);
    w.key("health").begin_object().field("ok", ok).field("message", text).end_object();
  }

  void write(json::Writer& w, const Row& row) const {
    w.begin_object().field("name", row.name);
    w.field("member", cluster::member_text(row.id)).field("role", row.role);
    w.field("leader", row.id == status_.standing.leader).field("self", row.id == group_.self());
    w.key("addresses").begin_array();
    for (const std::string& a : row.addresses) w.string(a);
    w.end_array().field("contactSeconds", row.contact_s);
    if (row.behind) w.field("behind", *row.behind);
    w.field("version", row.version).field("problem", row.problem).end_object();
  }

  const Device& device_;
  const store::Consensus& group_;
  const raft::Status status_;
  std::map<raft::MemberId, Row> rows_;
};

}  // namespace

std::string cluster_status(const Device& device) { return View(device).json(); }

}  // namespace limpet::daemon
