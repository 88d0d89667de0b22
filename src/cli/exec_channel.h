// The messages of exec and attach: a channel in the first byte (subprotocol v5.channel.k8s.io, KEP-4006), and
// the Status at the end. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cli/failure.h"

namespace limpet::cli {

constexpr const char* exec_protocol = "v5.channel.k8s.io";
constexpr size_t exec_chunk_bytes = 32 * 1024;

enum class Channel : unsigned char { in = 0, out = 1, err = 2, status = 3, resize = 4, close = 255 };

std::string exec_message(Channel channel, std::string_view bytes);
std::string exec_close_stdin();
std::string exec_resize(int width, int height);

// How the command ended, from what came on the status channel (maybe nothing) and the code of the close
// frame: its exit status, or why there is none.
Outcome<int> exec_result(std::string_view status, int close_code);

}  // namespace limpet::cli
