// What the API needs of the device that runs a pod: its logs, and commands run in or attached to its
// containers.
//
// The daemon adapts this to the node agent in process, later also to the stream of a distant agent. Calls
// come on the loop's thread; events too, never before the call returned. Destroying a session ends it: no
// event after that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace limpet::api {

// The API has checked that pod and container exist in the spec and that the pod is bound to a node.
struct ContainerRef {
  std::string ns, pod, uid, node;
  std::string container;
};

struct LogOptions {
  bool follow = false;
  bool previous = false;
  bool timestamps = false;
  std::optional<int64_t> tail_lines;
  std::optional<int64_t> since_seconds;
  std::optional<WallTime> since_time;
  std::optional<int64_t> limit_bytes;
  std::string stream;  // "All" (or empty), "Stdout", "Stderr"
};

class LogSession {
 public:
  struct Events {
    std::function<void()> on_ready;                       // found and readable; at most once, before any data
    std::function<void(std::string_view bytes)> on_data;  // as they are to reach the client
    // Last call. An error before on_ready becomes the request's Status: invalid_argument 400 (for example
    // "container
    // \"app\" in pod \"web\" is waiting to start: ContainerCreating"), not_found 404, else 500.
    std::function<void(Result<>)> on_end;
  };
  virtual ~LogSession() = default;
  virtual void pause(bool pause) = 0;  // back-pressure
};

struct ExecRequest {
  std::vector<std::string> command;  // empty: attach to the container's own process
  bool in = false, out = false, err = false, tty = false;
};

class ExecSession {
 public:
  struct Events {
    std::function<void(bool is_stderr, std::string_view bytes)> on_output;
    // Last call: the exit code, or why nothing could be run.
    std::function<void(Result<int>)> on_exit;
    std::function<void()> on_drain;  // what was written to stdin has been taken
  };
  virtual ~ExecSession() = default;
  virtual void write_stdin(std::string_view bytes) = 0;
  virtual void close_stdin() = 0;
  virtual void resize(int width, int height) = 0;
  virtual size_t stdin_queue_size() const = 0;
  virtual void pause(bool pause) = 0;  // of the output
};

class NodeAccess {
 public:
  virtual ~NodeAccess() = default;
  [[nodiscard]] virtual std::unique_ptr<LogSession> logs(const ContainerRef& container, LogOptions options,
                                                         LogSession::Events events) = 0;
  [[nodiscard]] virtual std::unique_ptr<ExecSession> exec(const ContainerRef& container, ExecRequest request,
                                                          ExecSession::Events events) = 0;
};

}  // namespace limpet::api
