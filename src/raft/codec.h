// Messages as bytes, for the connections between devices. What arrives is hostile until it has passed
// decode().
//
// Who speaks to whom is not in the bytes: a connection leads from one member to one other, and says so once
// (peer/wire.h). So nobody speaks in the name of another, and an idle link carries a seventh less.
//
// Shape (version 1): version byte, varint term, kind byte (the body's place in Body), then the
// body's members in the order in which types.h declares them: numbers as varints, flags as a byte of 0 or 1,
// runs of bytes and the membership with a varint length before them, entries with a varint count.
#pragma once

#include <string>
#include <string_view>

#include "raft/types.h"

namespace limpet::raft {

constexpr size_t kMaxMessage = 32u << 20;  // an entry of the store (24 MiB) fits
constexpr size_t kMaxEntries = 1u << 16;   // in one message
constexpr size_t kMaxCursor = 4096;

std::string encode(const Message& message);
// `unsupported`: a newer version or an unknown kind. `corrupt`: anything else that encode() would not have
// made.
Result<Message> decode_message(std::string_view bytes, MemberId from, MemberId to);

}  // namespace limpet::raft
