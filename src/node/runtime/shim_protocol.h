// What limpetd and limpet-shim say to each other over the unix socket in a container's run directory, and the
// names of the files there. Constants only: the shim is linked without the C++ library.
//
// Every message is a frame: payload size (4 bytes, little endian), type (1 byte), payload. Requests on one
// connection are answered in order with `ok` or `error`; a connection that sent `watch` also gets a `status`
// at once and at every change; one that sent `attach` gets `out` and `err` until `exit`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace limpet::node::shim {

constexpr size_t header_bytes = 5;
constexpr size_t max_request_bytes = 4096;     // payload towards the shim
constexpr size_t max_reply_bytes = 32 * 1024;  // payload from the shim

enum Frame : uint8_t {
  // requests
  frame_watch = 'W',
  frame_start = 'S',   // answered when the runtime's `start` has come back
  frame_kill = 'K',    // u8 signal
  frame_attach = 'A',  // u8 flags: 1 stdin, 2 output
  frame_stdin = 'I',   // bytes
  frame_close_stdin = 'C',
  frame_resize = 'R',    // u16 columns, u16 rows, little endian
  frame_shutdown = 'Q',  // the daemon has the exit status; refused while the container lives
  frame_reopen_log = 'L',
  // answers
  frame_ok = 'o',
  frame_error = 'e',   // text
  frame_status = 's',  // the JSON of status.json
  frame_out = '1',
  frame_err = '2',
  frame_exit = 'x',  // u8 exit code; the last frame of an attach
  // exec helper to daemon, over a socketpair
  frame_exec_master = 'm',  // 1 byte; carries the pty's master as SCM_RIGHTS
  frame_exec_exit = 'X',    // i32 exit code (128 + signal)
};

constexpr const char* socket_name = "shim.sock";
constexpr const char* status_name = "status.json";
constexpr const char* console_name = "console.sock";
constexpr const char* pid_name = "init.pid";
constexpr const char* runtime_log_name = "runtime.log";

}  // namespace limpet::node::shim
