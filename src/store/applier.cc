#include "store/applier.h"

#include <unordered_map>

#include "base/assert.h"

namespace limpet::store {
namespace {

// A key as an entry of the batch sees it.
struct Seen {
  RowId id = 0;  // 0: absent
  Revision created = 0;
  uint32_t size = 0;
  SharedBytes value;
};

class Evaluation {
 public:
  Evaluation(Batch& batch, const Index& index, Revision revision)
      : batch_(batch), index_(index), revision_(revision), state_(index.state()) {}

  Result<> run() {
    for (const raft::Entry& raw : batch_.entries) {
      auto& verdict = batch_.verdicts.emplace_back();
      if (raw.kind != raft::EntryKind::normal || raw.bytes->empty()) continue;
      auto entry = decode_entry(*raw.bytes);
      if (!entry) {
        return std::unexpected(std::move(entry).error().with(
            strf("entry %llu of the log", static_cast<unsigned long long>(raw.index))));
      }
      verdict = apply(*entry, raw.index);
    }
    batch_.revision = revision_;
    return {};
  }

 private:
  Result<Committed> apply(const Entry& entry, uint64_t index) {
    for (const EntryOp& op : entry.ops) CHECK_OK(expect(op));
    const Revision next = revision_ + 1;
    size_t place = 0;
    for (const EntryOp& op : entry.ops) {
      const Seen before = look(op.key);
      if (op.type == Op::Type::remove && before.id == 0) continue;
      change(op, before, row_id(next, place++), index, entry.time);
    }
    if (place > 0) revision_ = next;
    return Committed{revision_};
  }

  Result<> expect(const EntryOp& op) {
    if (!op.expect) return {};
    const RowId id = look(op.key).id;
    if (revision_of(id) == *op.expect) return {};
    const std::string key(op.key);
    if (*op.expect == 0)
      return fail(Errc::conflict, strf("%s exists, with revision %lld", key.c_str(),
                                       static_cast<long long>(revision_of(id))));
    if (id == 0) return fail(Errc::conflict, key + " does not exist");
    return fail(Errc::conflict,
                strf("%s has revision %lld, not %lld", key.c_str(), static_cast<long long>(revision_of(id)),
                     static_cast<long long>(*op.expect)));
  }

  void change(const EntryOp& op, const Seen& before, RowId id, uint64_t index, int64_t time) {
    Change c;
    c.key = op.key;
    c.id = id;
    c.previous_id = before.id;
    c.previous = before.value;
    c.index = index;
    c.time = time;
    c.deleted = op.type == Op::Type::remove;
    c.created = before.id ? before.created : revision_of(id);
    if (before.id) state_ ^= state_term(op.key, before.id, before.created, before.size);
    Seen now;
    if (!c.deleted) {
      c.stored = op.stored;
      // Only the plain format is ever proposed by this version; a replica that cannot read an entry must not
      // apply it.
      c.value = share(std::string(op.stored.substr(1)));
      now = {id, c.created, static_cast<uint32_t>(c.value->size()), c.value};
      state_ ^= state_term(op.key, now.id, now.created, now.size);
      batch_.only_removes = false;
    }
    c.state = state_;
    overlay_[op.key] = std::move(now);
    batch_.changes.push_back(std::move(c));
  }

  Seen look(std::string_view key) const {
    if (const auto it = overlay_.find(key); it != overlay_.end()) return it->second;
    const Slot* slot = index_.find(key);
    return slot ? Seen{slot->id, slot->created, slot->size, slot->value} : Seen{};
  }

  Batch& batch_;
  const Index& index_;
  std::unordered_map<std::string_view, Seen> overlay_;
  Revision revision_;
  uint64_t state_;
};

}  // namespace

Result<> evaluate(Batch& batch, const Index& index, Revision revision) {
  LIMPET_ASSERT(batch.changes.empty() && batch.verdicts.empty());
  return Evaluation(batch, index, revision).run();
}

}  // namespace limpet::store
