#include "daemon/member_records.h"

#include "base/log.h"

namespace limpet::daemon {

MemberRecords::MemberRecords(loop::Loop& loop, store::Space& space, loop::Task changed)
    : changed_(std::move(changed)),
      mirror_(loop, space, std::string(cluster::members_prefix), [this] { read(); }) {}

void MemberRecords::read() {
  records_.clear();
  for (const auto& [key, item] : mirror_.items()) {
    auto device = cluster::decode_device(*item.value);
    if (!device || device->member == 0) {
      log::warning("a record of a server cannot be read, passing over it",
                   {{"key", key}, {"error", device ? "no member" : device.error().message}});
      continue;
    }
    records_[device->member] = {std::move(*device), item.mod_revision};
  }
  changed_();
}

const MemberRecord* MemberRecords::find(raft::MemberId id) const {
  const auto it = records_.find(id);
  return it == records_.end() ? nullptr : &it->second;
}

const MemberRecord* MemberRecords::find(std::string_view name) const {
  for (const auto& [id, record] : records_) {
    if (record.device.name == name) return &record;
  }
  return nullptr;
}

}  // namespace limpet::daemon
