// Exec through the shim's helper, and attach to a container's streams.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "loop/poll.h"
#include "node/runtime/oci_spec.h"
#include "node/runtime/runtime_impl.h"
#include "node/runtime/sessions.h"

namespace limpet::node {
namespace {

constexpr int64_t output_grace_ms = 500;  // how long output may outlive its process: others can hold the pipe
constexpr int64_t kill_grace_ms = 5000;

}  // namespace

// ---- exec
// -----------------------------------------------------------------------------------------------------------

ExecSession::ExecSession(loop::Loop& loop, Events events)
    : loop_(loop), events_(std::move(events)), timeout_(loop, "exec timeout"), grace_(loop, "exec output") {}

ExecSession::~ExecSession() { *alive_ = false; }  // closing the control socket makes the helper kill

void ExecSession::fail_later(Error error) {
  loop_.defer([this, alive = alive_, error = std::move(error)] {
    if (*alive) finish(std::unexpected(error));
  });
}

void ExecSession::begin(UniqueFd control, bool tty, int64_t timeout_ms) {
  control_ = std::move(control);
  tty_ = tty;
  Result<std::unique_ptr<loop::Poll>> poll = loop::Poll::make(loop_, control_.get());
  if (!poll) return fail_later(std::move(poll).error());
  poll_ = std::move(*poll);
  poll_->start(true, false, [this](loop::PollEvents) { read_control(); });
  if (timeout_ms > 0) {
    timeout_.start(timeout_ms, [this] {
      timed_out_ = true;
      std::string frame = frame_bytes(shim::frame_kill, "");
      send(control_.get(), frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      timeout_.start(kill_grace_ms, [this] { finish(Exit{137, true}); });
    });
  }
}

void ExecSession::set_streams(std::unique_ptr<loop::Stream> in, std::unique_ptr<loop::Stream> out,
                              std::unique_ptr<loop::Stream> err) {
  in_ = std::move(in);
  out_ = std::move(out);
  err_ = std::move(err);
  if (in_) {
    in_->set_events({.on_read = {},
                     .on_eof = {},
                     .on_error = [this](Error) { in_.reset(); },
                     .on_drain = [this] { drained(); }});
  }
  watch_output(out_, events_.on_stdout);
  watch_output(err_, events_.on_stderr);
}

void ExecSession::watch_output(std::unique_ptr<loop::Stream>& stream,
                               const std::function<void(std::string_view)>& to) {
  if (!stream) return;
  std::unique_ptr<loop::Stream>* slot = &stream;
  auto over = [this, slot] {
    slot->reset();
    maybe_finish();
  };
  stream->set_events({.on_read =
                          [this, &to](std::string_view bytes) {
                            // The callback may end this object.
                            const std::shared_ptr<bool> alive = alive_;
                            const bool last = last_bytes_ > 0 && bytes.size() >= last_bytes_;
                            last_bytes_ -= std::min(last_bytes_, bytes.size());
                            if (to) to(bytes);
                            if (last && *alive) finish(std::move(*exit_));
                          },
                      .on_eof = over,
                      .on_error = [over](Error) { over(); },
                      .on_drain = [this] { drained(); }});
  if (!paused_) stream->read_start();
}

void ExecSession::drained() {
  if (close_stdin_wanted_ && in_) in_.reset();
  if (events_.on_stdin_drain) events_.on_stdin_drain();
}

void ExecSession::read_control() {
  char bytes[4096];
  iovec iov{bytes, sizeof bytes};
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  ssize_t n = recvmsg(control_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    poll_.reset();
    if (!exit_) exit_ = Result<Exit>(fail(Errc::unavailable, "the exec helper died"));
    return maybe_finish();
  }
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
      continue;
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    take_terminal(UniqueFd(fd));
  }
  buffer_.append(bytes, static_cast<size_t>(n));
  while (buffer_.size() >= shim::header_bytes) {
    uint32_t size;
    memcpy(&size, buffer_.data(), sizeof size);
    if (size > shim::max_reply_bytes) return finish(fail(Errc::corrupt, "the exec helper sends garbage"));
    if (buffer_.size() < shim::header_bytes + size) return;
    uint8_t type = static_cast<uint8_t>(buffer_[4]);
    std::string payload = buffer_.substr(shim::header_bytes, size);
    buffer_.erase(0, shim::header_bytes + size);
    if (type == shim::frame_error) exit_ = Result<Exit>(fail(Errc::internal, payload));
    if (type == shim::frame_exec_exit && payload.size() == sizeof(int32_t)) {
      int32_t code;
      memcpy(&code, payload.data(), sizeof code);
      exit_ = Result<Exit>(Exit{code, timed_out_});
    }
  }
  if (exit_) maybe_finish();
}

void ExecSession::take_terminal(UniqueFd master) {
  if (!tty_ || terminal_) return;
  UniqueFd copy(fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  fcntl(master.get(), F_SETFL, O_NONBLOCK);
  Result<std::unique_ptr<loop::Stream>> stream = loop::adopt_stream(loop_, std::move(copy));
  if (!stream) return finish(std::unexpected(std::move(stream).error()));
  terminal_ = std::move(master);
  if (columns_ != 0) resize(columns_, rows_);
  out_ = std::move(*stream);
  watch_output(out_, events_.on_stdout);
  if (!early_input_.empty()) out_->write(std::move(early_input_));
}

void ExecSession::maybe_finish() {
  if (!exit_) return;
  if (!out_ && !err_) return finish(std::move(*exit_));
  if (!grace_.active() && !paused_) {
    grace_.start(output_grace_ms, [this] { output_overdue(); });
  }
}

// Somebody else holds the pipe or terminal open. What the process left in there may not have been read yet
// when the loop was held up: that much more is read, however long it takes, and no more.
void ExecSession::output_overdue() {
  last_bytes_ = 0;
  for (const loop::Stream* stream : {out_.get(), err_.get()}) {
    int waiting = 0;
    if (stream != nullptr && stream->fd() >= 0 && ioctl(stream->fd(), FIONREAD, &waiting) == 0)
      last_bytes_ += static_cast<size_t>(std::max(waiting, 0));
  }
  if (last_bytes_ == 0) finish(std::move(*exit_));
}

void ExecSession::finish(Result<Exit> result) {
  if (finished_) return;
  finished_ = true;
  poll_.reset();
  timeout_.stop();
  grace_.stop();
  // The end may be reported from inside one of these streams' callbacks.
  in_.reset();
  out_.reset();
  err_.reset();
  control_.reset();
  std::function<void(Result<Exit>)> on_exit = std::move(events_.on_exit);
  if (on_exit) on_exit(std::move(result));
}

void ExecSession::write_stdin(std::string bytes) {
  if (finished_) return;
  if (tty_ && !out_)
    early_input_ += bytes.substr(0, early_input_.size() < 65536 ? bytes.size() : 0);
  else if (tty_)
    out_->write(std::move(bytes));
  else if (in_ && !close_stdin_wanted_)
    in_->write(std::move(bytes));
}

size_t ExecSession::stdin_queued() const {
  if (tty_) return out_ ? out_->write_queue_size() : early_input_.size();
  return in_ ? in_->write_queue_size() : 0;
}

void ExecSession::close_stdin() {
  if (tty_) return;  // a terminal has no end of file of its own
  close_stdin_wanted_ = true;
  if (in_ && in_->write_queue_size() == 0) in_.reset();
}

void ExecSession::resize(uint16_t columns, uint16_t rows) {
  columns_ = columns;
  rows_ = rows;
  if (!terminal_) return;
  winsize size{};
  size.ws_col = columns;
  size.ws_row = rows;
  ioctl(terminal_.get(), TIOCSWINSZ, &size);
}

void ExecSession::pause_output(bool paused) {
  paused_ = paused;
  for (loop::Stream* stream : {out_.get(), err_.get()}) {
    if (stream == nullptr) continue;
    if (paused)
      stream->read_stop();
    else
      stream->read_start();
  }
  if (paused)
    grace_.stop();
  else
    maybe_finish();
}

std::unique_ptr<Session> RuntimeImpl::exec(ExecConfig config, Session::Events events) {
  auto session = std::make_unique<ExecSession>(loop_, std::move(events));
  Entry* entry = find(config.container_id);
  auto refuse = [&](Error error) {
    session->fail_later(std::move(error));
    return std::move(session);
  };
  if (entry == nullptr) return refuse({Errc::not_found, "no container " + config.container_id});
  if (entry->status.state != ContainerState::running) {
    return refuse({Errc::conflict, "container is not running"});
  }
  if (config.args.empty() || config.args[0].empty())
    return refuse({Errc::invalid_argument, "no command specified"});
  if (LIMPET_FAILPOINT("runtime.exec")) return refuse({Errc::io, "failpoint runtime.exec"});
  std::string dir = places_.container(entry->pod_uid, entry->id);
  Result<std::string> base = read_file(dir + "/process.json", 2 << 20);
  if (!base) return refuse(std::move(base).error());
  std::string name = strf("exec-%lld-%llu", static_cast<long long>(loop_.now_ms()),
                          static_cast<unsigned long long>(++exec_counter_));
  std::string process_file = dir + "/" + name + ".json";
  Result<> written = write_file_atomic(process_file, exec_process(*base, config.args, config.tty), 0600);
  if (!written) return refuse(std::move(written).error());
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return refuse(fail_errno(errno, "socketpair").error());
  }
  UniqueFd ours(pair[0]), theirs(pair[1]);
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);

  loop::ProcessOptions o;
  o.argv = {shim_path_,
            "exec",
            "dir=" + dir,
            "id=" + entry->id,
            "name=" + name,
            "process=" + process_file,
            "runtime=" + runtime_path_,
            "root=" + places_.runtime_root(),
            strf("tty=%d", config.tty),
            "timeout=" + std::to_string(options_.command_timeout_ms)};
  for (const std::string& path : cgroups_->directories(places_.shim_cgroup()))
    o.argv.push_back("cgroup=" + path);
  o.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  if (!config.tty) {
    o.in = config.stdin ? loop::Stdio::stream() : loop::Stdio::none();
    o.out = loop::Stdio::stream();
    o.err = loop::Stdio::stream();
  }
  o.fds = {{3, theirs.get()}};
  o.new_session = true;
  // The helper outlives the session by a moment, to kill and reap: the Runtime keeps it.
  processes_.push_back(std::make_unique<loop::Process>());
  auto it = std::prev(processes_.end());
  Result<> started = (*it)->start(loop_, std::move(o), [this, it](loop::ProcessExit) {
    std::unique_ptr<loop::Process> keep = std::move(*it);
    processes_.erase(it);
  });
  if (!started) {
    processes_.erase(it);
    return refuse(std::move(started).error().with("limpet-shim"));
  }
  session->begin(std::move(ours), config.tty, config.timeout_ms);
  if (!config.tty) {
    session->set_streams(config.stdin ? (*it)->take_stream(0) : nullptr, (*it)->take_stream(1),
                         (*it)->take_stream(2));
  }
  return session;
}

// ---- attach
// ---------------------------------------------------------------------------------------------------------

AttachSession::AttachSession(loop::Loop& loop, Events events) : loop_(loop), events_(std::move(events)) {}

AttachSession::~AttachSession() { *alive_ = false; }

void AttachSession::begin(const std::string& dir, bool with_stdin, bool with_output) {
  ShimLink::Events on;
  on.on_frame = [this](uint8_t type, std::string_view payload) { frame(type, payload); };
  on.on_closed = [this] { finish(fail(Errc::unavailable, "the connection to the container was lost")); };
  on.on_drain = [this] {
    if (events_.on_stdin_drain) events_.on_stdin_drain();
  };
  Result<std::unique_ptr<ShimLink>> link = ShimLink::connect(loop_, dir, std::move(on));
  if (!link) return fail_later(std::move(link).error());
  link_ = std::move(*link);
  char flags = static_cast<char>((with_stdin ? 1 : 0) | (with_output ? 2 : 0));
  link_->ask(shim::frame_attach, std::string_view(&flags, 1), [this](Result<> r) {
    if (!r) finish(std::unexpected(std::move(r).error()));
  });
}

void AttachSession::fail_later(Error error) {
  loop_.defer([this, alive = alive_, error = std::move(error)] {
    if (*alive) finish(std::unexpected(error));
  });
}

void AttachSession::frame(uint8_t type, std::string_view payload) {
  if (type == shim::frame_out && events_.on_stdout) events_.on_stdout(payload);
  if (type == shim::frame_err && events_.on_stderr) events_.on_stderr(payload);
  if (type == shim::frame_exit && payload.size() == 1) finish(Exit{static_cast<uint8_t>(payload[0]), false});
}

void AttachSession::finish(Result<Exit> result) {
  if (finished_) return;
  finished_ = true;
  // From inside a callback of the link: it goes when that is over.
  loop_.defer([link = std::shared_ptr<ShimLink>(std::move(link_))] {});
  std::function<void(Result<Exit>)> on_exit = std::move(events_.on_exit);
  if (on_exit) on_exit(std::move(result));
}

void AttachSession::write_stdin(std::string bytes) {
  for (size_t at = 0; link_ && at < bytes.size(); at += shim::max_request_bytes) {
    link_->send(shim::frame_stdin, std::string_view(bytes).substr(at, shim::max_request_bytes));
  }
}

size_t AttachSession::stdin_queued() const { return link_ ? link_->queued() : 0; }

void AttachSession::close_stdin() {
  if (link_) link_->send(shim::frame_close_stdin, "");
}

void AttachSession::resize(uint16_t columns, uint16_t rows) {
  char payload[4] = {static_cast<char>(columns & 0xff), static_cast<char>(columns >> 8),
                     static_cast<char>(rows & 0xff), static_cast<char>(rows >> 8)};
  if (link_) link_->send(shim::frame_resize, std::string_view(payload, sizeof payload));
}

void AttachSession::pause_output(bool paused) {
  if (link_) link_->pause(paused);
}

std::unique_ptr<Session> RuntimeImpl::attach(AttachConfig config, Session::Events events) {
  auto session = std::make_unique<AttachSession>(loop_, std::move(events));
  Entry* entry = find(config.container_id);
  if (entry == nullptr || entry->making || entry->removing) {
    session->fail_later({Errc::not_found, "no container " + config.container_id});
  } else if (!entry->link) {
    session->fail_later({Errc::conflict, "container is not running"});
  } else {
    session->begin(places_.container(entry->pod_uid, entry->id), config.stdin, config.output);
  }
  return session;
}

}  // namespace limpet::node
