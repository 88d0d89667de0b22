#include "raft/codec.h"

#include <doctest/doctest.h>

#include "base/random.h"

using namespace limpet;
using namespace limpet::raft;

namespace {

Result<Message> decode(std::string_view bytes) { return decode_message(bytes, 1, 2); }

const Membership kMembers{{1, 2, ~uint64_t{0}}, {1}, {9}};

std::vector<Message> one_of_each() {
  const Body bodies[] = {
      Append{7,
             2,
             6,
             {{8, 2, EntryKind::normal, share("")}, {9, 3, EntryKind::membership, share(encode(kMembers))}}},
      AppendReply{1, 2, 3, 4},
      Heartbeat{300, ~uint64_t{0}},
      HeartbeatReply{5},
      Vote{true, false, 8, 2},
      Vote{false, true, 8, 2},
      VoteReply{true, true},
      VoteReply{false, false},
      SnapshotOffer{},
      SnapshotChunk{{{4, 2}, kMembers}, "a", "b", true, share(std::string(1000, '\0'))},
      SnapshotReply{{4, 2}, "cursor"},
      TimeoutNow{},
      ReadIndex{77},
      ReadIndexReply{77, 12},
  };
  std::vector<Message> out;
  for (const Body& body : bodies) out.push_back({1, 2, 3, body});
  return out;
}

}  // namespace

TEST_CASE("every message comes back as it was written, and no part of it does") {
  std::vector<bool> seen(std::variant_size_v<Body>);
  for (const Message& m : one_of_each()) {
    CAPTURE(to_string(m));
    seen[m.body.index()] = true;
    const std::string bytes = encode(m);
    const auto read = decode(bytes);
    REQUIRE(read);
    CHECK(encode(*read) == bytes);
    CHECK(to_string(*read) == to_string(m));
    for (size_t i = 0; i < bytes.size(); ++i) CHECK_FALSE(decode(bytes.substr(0, i)));
    CHECK_FALSE(decode(bytes + "x"));
  }
  CHECK(std::find(seen.begin(), seen.end(), false) == seen.end());
}

TEST_CASE("bytes of another version, an unknown kind, counts that claim too much") {
  const std::string bytes = encode(Message{1, 2, 3, TimeoutNow{}});
  CHECK(decode("").error().code == Errc::corrupt);
  CHECK(decode("\2" + bytes.substr(1)).error().code == Errc::unsupported);
  CHECK(decode(bytes.substr(0, 2) + "\x7f").error().code == Errc::unsupported);
  // An Append that says it has 2^60 entries.
  const std::string head = std::string("\1\3", 2) + std::string("\0\0\0\0", 4);
  CHECK(decode(head + "\x80\x80\x80\x80\x80\x80\x80\x80\x10").error().code == Errc::corrupt);
}

TEST_CASE("changed bytes are refused or are another message, never anything else") {
  SeededRandom random(11);
  for (const Message& m : one_of_each()) {
    const std::string bytes = encode(m);
    for (int i = 0; i < 2000; ++i) {
      std::string changed = bytes;
      changed[random.below(changed.size())] = static_cast<char>(random.below(256));
      if (const auto read = decode(changed)) CHECK(encode(*read) == changed);
    }
  }
}
