// Messages of peers that may be broken or worse: what decode_message() lets through comes back as the same
// bytes, and no sequence of them ends a member, whatever it makes of them. A run is a list of steps: a byte
// (tick, campaign, propose, read, or a message and of whom), a message with its length before it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/varint.h"
#include "raft/codec.h"
#include "raft/raft.h"

using namespace limpet;
using namespace limpet::raft;

namespace {

// A host whose disk is at once done with everything.
void pump(Raft& core) {
  for (Batch batch = core.take(); !batch.empty(); batch = core.take()) {
    (void)to_string(batch);
    for (const Message& m : batch.messages) {
      if (!decode_message(encode(m), m.from, m.to)) std::abort();
    }
    if (batch.sequence != 0) core.persisted(batch.sequence);
    if (!batch.apply.empty()) core.applied(batch.apply.back().index);
    if (batch.stage) core.chunk_stored(true);
    for (const EntriesWanted& wanted : batch.entries_wanted)
      core.entries_read({wanted.peer, wanted.after, 0, {}});
    for (const ChunkWanted& wanted : batch.chunks_wanted) {
      core.chunk_read({wanted.peer, {{{1, 1}, core.membership()}, "", "1", true, share("x")}});
    }
  }
}

void step(Raft& core, ByteReader& in) {
  const uint8_t what = in.byte();
  switch (what % 6) {
    case 0:
      return core.tick();
    case 1:
      return core.campaign();
    case 2:
      return void(core.propose(share("x")));
    case 3:
      return void(core.read());
    default: {
      const std::string_view bytes = in.bytes(1u << 20);
      auto message = decode_message(bytes, what / 6 % 6, 1);  // 0 and 1: who cannot be
      if (!message) return;
      if (encode(*message) != bytes) std::abort();
      core.receive(std::move(*message));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteReader in({reinterpret_cast<const char*>(data), size});
  Start start{{1, 0}, {1, 1}, {{1, 2, 3}, {}, {4}}, 1, {}, {}};
  Raft core({.self = 1, .seed = 7}, start);
  for (int i = 0; i < 200 && in.ok() && !in.at_end(); ++i) {
    step(core, in);
    pump(core);
  }
  return 0;
}
