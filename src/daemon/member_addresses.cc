#include "daemon/member_addresses.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cluster/whereabouts.h"
#include "daemon/group_keeper.h"
#include "daemon/local_api.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr int64_t first_wait_ms = 1'000, longest_wait_ms = 15'000;

// Where its connections come from differs from server to server; what it says first does not.
bool lacks(const MemberRecord& record, const std::string& address) {
  const std::vector<std::string>& known = record.device.addresses;
  return std::find(known.begin(), known.end(), address) == known.end();
}

}  // namespace

MemberAddresses::MemberAddresses(Device& device, const MemberRecords& records)
    : device_(device), records_(records), again_(device.loop, "member addresses"), wait_ms_(first_wait_ms) {}

bool MemberAddresses::is_news(raft::MemberId member, const std::vector<std::string>& addresses) const {
  const MemberRecord* record = records_.find(member);
  if (!record || addresses.empty()) return false;
  return term_ != 0 ? record->device.addresses != addresses : lacks(*record, addresses[0]);
}

void MemberAddresses::learned(raft::MemberId member, std::vector<std::string> addresses) {
  news_[member] = std::move(addresses);
  at_once();
}

void MemberAddresses::lead(uint64_t term, std::vector<std::string> own) {
  term_ = term;
  own_ = std::move(own);
  telling_.reset();
  own_record();
  at_once();
}

// Its record may have come only now.
void MemberAddresses::records_changed() {
  own_record();
  settle();
}

void MemberAddresses::own_record() {
  if (term_ != 0) news_[device_.store->consensus().self()] = own_;
}

void MemberAddresses::at_once() {
  again_.stop();
  wait_ms_ = first_wait_ms;
  settle();
}

// What is done with it may fail, or be lost with a leader: again, until the records have it.
void MemberAddresses::settle() {
  std::erase_if(news_, [this](const auto& one) { return !is_news(one.first, one.second); });
  if (news_.empty()) return again_.stop();
  if (again_.active()) return;
  again_.start(wait_ms_, [this] { settle(); });
  wait_ms_ = std::min(2 * wait_ms_, longest_wait_ms);
  if (term_ == 0) return tell();
  for (const auto& [member, addresses] : news_) write(*records_.find(member), addresses);
}

// One after the other. What is not answered by the next time is given up: it may have gone to where the
// leader was.
void MemberAddresses::tell() {
  telling_.reset();
  if (!device_.cluster || !device_.cluster->leader_known() || device_.cluster->leading()) return;
  auto next = news_.upper_bound(told_);
  if (next == news_.end()) next = news_.begin();
  told_ = next->first;
  http::Request request;
  request.method = "POST";
  request.target = std::string(path);
  request.headers.add("Content-Type", "application/json");
  request.body = cluster::encode(cluster::Whereabouts{next->first, next->second});
  telling_ = device_.cluster->forward(std::move(request), {.on_head = [](int, const http::Headers&) {},
                                                           .on_body = [](std::string_view) {},
                                                           .on_end = [this](Result<>) { telling_.reset(); }});
}

void MemberAddresses::take_report(const http::ExchangePtr& exchange) {
  auto report = cluster::decode_whereabouts(exchange->request().body);
  if (exchange->request().method != "POST" || !report) {
    return exchange->respond(
        local_failure(400, "BadRequest", report ? "addresses are told by POST" : report.error().message));
  }
  // Who is silent here has not said where it is; who is not said it to this server, too.
  const MemberRecord* record = records_.find(report->member);
  if (term_ != 0 && record && lacks(*record, report->addresses[0]) && !in_contact(device_, report->member))
    write(*record, report->addresses);
  exchange->respond(local_json("{}"));
}

void MemberAddresses::write(const MemberRecord& record, const std::vector<std::string>& addresses) {
  cluster::Device changed = record.device;
  changed.addresses = addresses;
  store::Txn txn;
  txn.term = term_;
  txn.ops.push_back(
      {store::Op::Type::put, cluster::member_key(changed.member), encode(changed), record.revision});
  txn.ops.push_back({store::Op::Type::put, cluster::device_key(changed.name), encode(changed), std::nullopt});
  log::notice("a server is reachable elsewhere",
              {{"server", changed.name}, {"at", changed.addresses.empty() ? "" : changed.addresses[0]}});
  device_.store->durable().commit(std::move(txn), [](Result<store::Committed>) {});
}

}  // namespace limpet::daemon
