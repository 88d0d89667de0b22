#include "raft/codec.h"

#include "base/varint.h"

namespace limpet::raft {
namespace {

constexpr uint8_t kVersion = 1;

// One description of each body serves both ways: fields(io, body) names the members, a Writer or a Reader
// does the rest.
struct Writer {
  std::string& out;
  void number(uint64_t v) { put_varint(out, v); }
  void flag(bool v) { out.push_back(v ? 1 : 0); }
  void text(const std::string& v) { put_bytes(out, v); }
  void bytes(const SharedBytes& v) { put_bytes(out, *v); }
  void membership(const Membership& v) { put_bytes(out, encode(v)); }
  void entries(const std::vector<Entry>& v) {
    number(v.size());
    for (const Entry& entry : v) {
      number(entry.term);
      out.push_back(static_cast<char>(entry.kind));
      bytes(entry.bytes);
    }
  }
};

struct Reader {
  ByteReader in;
  void number(uint64_t& v) { v = in.varint(); }
  void flag(bool& v) {
    const uint8_t byte = in.byte();
    if (byte > 1) in.bad();
    v = byte == 1;
  }
  void text(std::string& v) { v = in.bytes(kMaxCursor); }
  void bytes(SharedBytes& v) { v = share(std::string(in.bytes(kMaxMessage))); }
  void membership(Membership& v) {
    auto read = decode_membership(in.bytes(kMaxMessage));
    if (read) {
      v = *std::move(read);
    } else {
      in.bad();
    }
  }
  void entries(std::vector<Entry>& v) {
    const uint64_t n = in.varint();
    if (n > kMaxEntries || n * 3 > in.left()) in.bad();  // three bytes are the least that an entry takes
    for (uint64_t i = 0; i < n && in.ok(); ++i) {
      Entry entry;
      number(entry.term);
      const uint8_t kind = in.byte();
      if (kind > static_cast<uint8_t>(EntryKind::membership)) in.bad();
      entry.kind = static_cast<EntryKind>(kind);
      bytes(entry.bytes);
      v.push_back(std::move(entry));
    }
  }
};

template <class Io, class B>
void fields(Io& io, B& b) {
  using Plain = std::remove_const_t<B>;
  if constexpr (std::is_same_v<Plain, Append>) {
    io.number(b.prev_index), io.number(b.prev_term), io.number(b.commit), io.entries(b.entries);
  } else if constexpr (std::is_same_v<Plain, AppendReply>) {
    io.number(b.match), io.number(b.rejected), io.number(b.hint), io.number(b.hint_term);
  } else if constexpr (std::is_same_v<Plain, Heartbeat>) {
    io.number(b.commit), io.number(b.round);
  } else if constexpr (std::is_same_v<Plain, HeartbeatReply>) {
    io.number(b.round);
  } else if constexpr (std::is_same_v<Plain, Vote>) {
    io.flag(b.pre), io.flag(b.force), io.number(b.last_index), io.number(b.last_term);
  } else if constexpr (std::is_same_v<Plain, VoteReply>) {
    io.flag(b.pre), io.flag(b.granted);
  } else if constexpr (std::is_same_v<Plain, SnapshotChunk>) {
    io.number(b.meta.point.index), io.number(b.meta.point.term), io.membership(b.meta.membership);
    io.text(b.cursor), io.text(b.next), io.flag(b.last), io.bytes(b.bytes);
  } else if constexpr (std::is_same_v<Plain, SnapshotReply>) {
    io.number(b.point.index), io.number(b.point.term), io.text(b.cursor);
  } else if constexpr (std::is_same_v<Plain, ReadIndex>) {
    io.number(b.id);
  } else if constexpr (std::is_same_v<Plain, ReadIndexReply>) {
    io.number(b.id), io.number(b.index);
  } else {
    static_assert(std::is_same_v<Plain, SnapshotOffer> || std::is_same_v<Plain, TimeoutNow>);
  }
}

template <size_t I = 0>
void read_body(uint8_t kind, Reader& in, Body& body) {
  if constexpr (I < std::variant_size_v<Body>) {
    if (kind != I) return read_body<I + 1>(kind, in, body);
    fields(in, body.emplace<I>());
  }
}

}  // namespace

std::string encode(const Message& m) {
  std::string out(1, static_cast<char>(kVersion));
  put_varint(out, m.term);
  out.push_back(static_cast<char>(m.body.index()));
  Writer writer{out};
  std::visit([&](const auto& body) { fields(writer, body); }, m.body);
  return out;
}

Result<Message> decode_message(std::string_view bytes, MemberId from, MemberId to) {
  if (bytes.empty() || bytes.size() > kMaxMessage)
    return fail(Errc::corrupt, "raft message: no bytes or too many");
  if (static_cast<uint8_t>(bytes[0]) != kVersion) {
    return fail(Errc::unsupported, strf("raft message of version %d, this limpet knows %d",
                                        static_cast<uint8_t>(bytes[0]), kVersion));
  }
  Reader in{ByteReader(bytes.substr(1))};
  Message m{from, to, 0, {}};
  in.number(m.term);
  const uint8_t kind = in.in.byte();
  if (!in.in.ok()) return fail(Errc::corrupt, "raft message: cut short");
  if (kind >= std::variant_size_v<Body>)
    return fail(Errc::unsupported, strf("raft message of unknown kind %d", kind));
  read_body(kind, in, m.body);
  if (auto* append = std::get_if<Append>(&m.body)) {
    Index index = append->prev_index;
    for (Entry& entry : append->entries) entry.index = ++index;
  }
  if (!in.in.ok() || !in.in.at_end()) return fail(Errc::corrupt, "raft message: not as it was written");
  return m;
}

}  // namespace limpet::raft
