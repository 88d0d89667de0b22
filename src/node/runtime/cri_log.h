// Reader of container logs in CRI format (one file per container start, written by limpet-shim, rotated to
// PATH.1 (newest) ... PATH.n): what `kubectl logs` shows.
//
//   2026-11-22T18:49:52.123456789Z stdout F text of a whole line
//   2026-11-22T18:49:52.123456789Z stdout P first part of a line longer than 16 KB
//
// The files are hostile input: a damaged line is skipped, a line is at most 64 KB. Formats: Kubernetes CRI
// logging.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "loop/loop.h"

namespace limpet::node {

struct LogLine {
  WallTime time;
  std::string_view time_text;  // as in the file
  bool is_stderr = false;
  bool partial = false;   // no newline follows
  std::string_view text;  // without the newline
};

// One line without its newline; nullopt when it is not a CRI log line. Views point into `line`.
std::optional<LogLine> parse_log_line(std::string_view line);

struct LogOptions {
  bool follow = false;
  bool timestamps = false;
  int64_t tail_lines = -1;   // -1: all
  int64_t limit_bytes = -1;  // -1: none; counted on what is handed out
  std::optional<WallTime> since;
  enum class Stream { all, out, err } stream = Stream::all;
};

// Streams what the options select. Owned by the caller; destroying it stops. `on_data` gets whole output
// lines, at most 64 KB at once; while paused nothing is read. With follow, `on_end` comes after finish(),
// when all that was written before is delivered; without, at the end of the file. Reading happens on the
// loop, in slices.
class LogReader {
 public:
  struct Events {
    std::function<void(std::string_view)> on_data;
    std::function<void(Result<>)> on_end;  // once
  };
  virtual ~LogReader() = default;
  virtual void pause(bool paused) = 0;
  virtual void finish() = 0;  // the container is gone: no more will be written
};

// not_found when there is no log. Starts on the next turn of the loop.
Result<std::unique_ptr<LogReader>> open_log(loop::Loop& loop, const std::string& path,
                                            const LogOptions& options, LogReader::Events events);

}  // namespace limpet::node
