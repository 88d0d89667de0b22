// limpet exec.
#include <signal.h>
#include <unistd.h>

#include "cli/exec_channel.h"
#include "cli/input.h"
#include "cli/pods.h"
#include "cli/raw_terminal.h"
#include "loop/signal.h"

namespace limpet::cli {
namespace {

constexpr size_t max_queued = 256 * 1024;
constexpr size_t max_status = 64 * 1024;
constexpr int64_t for_ever_ms = int64_t{1} << 45;

std::string exec_target(const Target& target, const Arguments& a, bool tty) {
  std::string out =
      target.path() + "/exec?container=" + http::percent_encode(target.container) + "&stdout=true";
  if (a.in) out += "&stdin=true";
  out += tty ? "&tty=true" : "&stderr=true";
  for (const std::string& word : a.rest) out += "&command=" + http::percent_encode(word);
  return out;
}

class Session {
 public:
  explicit Session(Context& context) : context_(context) {}

  Outcome<int> run(const std::string& target, bool tty) {
    auto socket = context_.daemon.websocket(target, exec_protocol, events());
    if (!socket) return std::unexpected(socket.error());
    socket_ = std::move(*socket);
    loop::Loop& loop = context_.daemon.loop();
    RawTerminal raw;  // ends raw mode on the way out
    std::unique_ptr<loop::Signal> resized;
    if (tty) {
      if (auto entered = RawTerminal::enter(STDIN_FILENO); !entered) {
        return failed(exit_failed, entered.error().message);
      }
      resize();
      if (auto s = loop::Signal::make(loop, SIGWINCH, [this] { resize(); })) resized = std::move(*s);
    }
    if (context_.arguments.in) {
      input_ = std::make_unique<Input>(loop, STDIN_FILENO, exec_chunk_bytes - 1,
                                       [this](std::string_view bytes) { typed(bytes); });
    }
    (void)loop.run_until([this] { return over_; }, for_ever_ms);
    input_.reset();
    RawTerminal::leave();
    if (unwritable_) return failed(exit_failed, "");
    return exec_result(status_, close_code_);
  }

 private:
  http::WebSocket::Events events() {
    return {.on_message = [this](std::string_view m, bool) { message(m); },
            .on_close =
                [this](int code, std::string_view) {
                  close_code_ = code;
                  over_ = true;
                },
            .on_drain =
                [this] {
                  if (input_) input_->pause(false);
                }};
  }

  void message(std::string_view m) {
    if (m.empty() || over_) return;
    const std::string_view bytes = m.substr(1);
    bool written = true;
    switch (static_cast<Channel>(m[0])) {
      case Channel::out:
        written = context_.output.out(bytes);
        break;
      case Channel::err:
        written = context_.output.err(bytes);
        break;
      case Channel::status:
        status_.append(bytes.substr(0, max_status - std::min(status_.size(), max_status)));
        break;
      default:
        break;
    }
    if (!written) over_ = unwritable_ = true;  // the command ends with the connection
  }

  void typed(std::string_view bytes) {
    if (over_) return;
    socket_->send(bytes.empty() ? exec_close_stdin() : exec_message(Channel::in, bytes));
    if (socket_->write_queue_size() > max_queued) input_->pause(true);
  }

  void resize() {
    const TerminalSize size = terminal_size(STDIN_FILENO);
    if (size.width > 0 && size.height > 0) socket_->send(exec_resize(size.width, size.height));
  }

  Context& context_;
  std::unique_ptr<http::WebSocket> socket_;
  std::unique_ptr<Input> input_;
  std::string status_;
  int close_code_ = 0;
  bool over_ = false, unwritable_ = false;
};

}  // namespace

Outcome<int> run_exec(Context& context) {
  const Arguments& a = context.arguments;
  bool tty = a.tty;
  if (tty && (!a.in || isatty(STDIN_FILENO) != 1)) {
    if (!a.in) return failed(exit_usage, "-t needs -i: a terminal that cannot be typed at is of no use");
    (void)context.output.err("limpet: the input is no terminal: going on without -t\n");
    tty = false;
  }
  const auto target = find_target(context);
  if (!target) return std::unexpected(target.error());
  return Session(context).run(exec_target(*target, a, tty), tty);
}

}  // namespace limpet::cli
