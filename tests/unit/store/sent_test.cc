// The rule of the simulator of whole stores for writes that are told to be undone.
#include "../../sim/store/sent.h"

#include <doctest/doctest.h>

#include "store/entry.h"

using namespace limpet;

namespace {

raft::Entry entry(raft::Index index, raft::Term term, const std::string& value) {
  const store::Txn txn{{{store::Op::Type::put, "r/a", value + " padding", std::nullopt}}};
  return {index, term, raft::EntryKind::normal, share(store::encode_entry(txn, 0).value())};
}

raft::Append append(std::vector<raft::Entry> entries) {
  raft::Append out;
  out.entries = std::move(entries);
  return out;
}

}  // namespace

TEST_CASE("that a write which others were sent is undone nobody knows before something took its place") {
  sim::Sent sent;
  sent.note(append({entry(5, 2, "one"), entry(6, 2, "two"), entry(7, 2, "three")}));
  CHECK(sent.unproven("three", 5));  // its leader has applied less than it
  CHECK_FALSE(sent.unproven("one", 5));
  CHECK_FALSE(sent.unproven("four", 5));  // sent to nobody
  // Another leader's entry is agreed on: what was behind it is of an older term, and gone.
  sent.note(append({{5, 3, raft::EntryKind::normal, share("")}}));
  CHECK_FALSE(sent.unproven("three", 5));
  CHECK_FALSE(sent.unproven("three", 4));  // of what is agreed on there nothing was sent
  sent.note(append({{4, 2, raft::EntryKind::normal, share("")}}));
  CHECK(sent.unproven("three", 4));
  CHECK_FALSE(sent.unproven("three", 7));
}
