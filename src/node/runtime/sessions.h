// The two kinds of Session (runtime.h). Private to this room.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "loop/poll.h"
#include "loop/stream.h"
#include "node/runtime/runtime.h"
#include "node/runtime/shim_link.h"

namespace limpet::node {

// One `limpet-shim exec`: its standard streams are ours, its control socket tells the exit code.
class ExecSession final : public Session {
 public:
  ExecSession(loop::Loop& loop, Events events);
  ~ExecSession() override;
  void begin(UniqueFd control, bool tty, int64_t timeout_ms);
  void set_streams(std::unique_ptr<loop::Stream> in, std::unique_ptr<loop::Stream> out,
                   std::unique_ptr<loop::Stream> err);
  void fail_later(Error error);

  void write_stdin(std::string bytes) override;
  size_t stdin_queued() const override;
  void close_stdin() override;
  void resize(uint16_t columns, uint16_t rows) override;
  void pause_output(bool paused) override;

 private:
  void watch_output(std::unique_ptr<loop::Stream>& stream, const std::function<void(std::string_view)>& to);
  void read_control();
  void take_terminal(UniqueFd master);
  void drained();
  void maybe_finish();
  void output_overdue();
  void finish(Result<Exit> result);

  loop::Loop& loop_;
  Events events_;
  loop::Timer timeout_, grace_;
  UniqueFd control_;
  std::unique_ptr<loop::Poll> poll_;
  std::unique_ptr<loop::Stream> in_, out_, err_;  // with a tty only out_, which is also its stdin
  UniqueFd terminal_;
  std::string buffer_, early_input_;
  std::optional<Result<Exit>> exit_;
  size_t last_bytes_ = 0;  // of output, in the kernel when the grace was over: still read, then it ends
  uint16_t columns_ = 0, rows_ = 0;
  bool tty_ = false, paused_ = false, timed_out_ = false, finished_ = false, close_stdin_wanted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// A connection of its own to the container's shim.
class AttachSession final : public Session {
 public:
  AttachSession(loop::Loop& loop, Events events);
  ~AttachSession() override;
  void begin(const std::string& dir, bool with_stdin, bool with_output);
  void fail_later(Error error);

  void write_stdin(std::string bytes) override;
  size_t stdin_queued() const override;
  void close_stdin() override;
  void resize(uint16_t columns, uint16_t rows) override;
  void pause_output(bool paused) override;

 private:
  void frame(uint8_t type, std::string_view payload);
  void finish(Result<Exit> result);

  loop::Loop& loop_;
  Events events_;
  std::unique_ptr<ShimLink> link_;
  bool finished_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace limpet::node
