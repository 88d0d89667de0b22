// One container: the runtime's commands, its streams, its exit, and those who watch it. All of limpet-shim's
// state.
//
//   creating --create ok--> created --start--> running --exit--> exited
//      |                       +------exit before start-----------^
//      +--create failed--> failed
//
// One epoll loop, no threads. It ends when the daemon has fetched the exit status (frame_shutdown).
#pragma once

#include <sys/types.h>

#include "shim/client.h"
#include "shim/log_file.h"
#include "shim/sys.h"

namespace limpet::shim {

// What an epoll event is about; clients count up from tag_client.
enum Tag : uint32_t { tag_listener, tag_signals, tag_out, tag_err, tag_stdin, tag_console, tag_client };

class Container {
 public:
  explicit Container(const Args& args) : args_(args) {}
  // Socket and status file; the current directory is the container's. False: `error` says why.
  bool prepare(TextRef& error);
  int run();

 private:
  enum class State { creating, created, running, exited, failed };
  enum class Command { none, create, start };
  struct Output {
    explicit Output(bool is_stderr) : lines(is_stderr) {}
    int fd = -1;
    bool in_epoll = false;
    bool enabled = false;
    LineBuffer lines;
  };
  static constexpr int max_clients = 16;

  bool over() const { return state_ == State::exited || state_ == State::failed; }
  bool open_streams(Spawn& command);
  void run_create();
  void run_start(Client* by);
  void run_command(Command command, const char* const* argv, Spawn how);
  void reap();
  void command_done(int status);
  void create_done(bool ok);
  void start_done(bool ok);
  void container_exited(int status);
  void finish_exit();
  void fail(const char* reason);
  void kill_container();

  void accept_client();
  void accept_console();
  void serve(int index, uint32_t events);
  bool handle(Client& client, uint8_t type, const char* payload, size_t size);
  bool handle_attach(Client& client, const char* payload, size_t size);
  bool feed_stdin(Client& client, const char* payload, size_t size);
  void answer(Client& client, const char* error);
  void drop(int index);
  void update_client(int index);
  void read_output(Output& output);
  void close_output(Output& output);
  void drain(Output& output);
  void update_outputs();
  void release_stdin();
  void write_status();
  void save_status();
  void broadcast_status();
  int64_t next_deadline() const;
  void check_deadlines();
  void watch(int fd, uint32_t events, uint32_t tag, bool add);

  const Args& args_;
  int epoll_ = -1, signals_ = -1, listener_ = -1, console_listener_ = -1;
  bool tty_ = false;
  int stdin_fd_ = -1;
  bool stdin_once_ = false;
  bool stdin_watched_ = false;
  Output out_{false}, err_{true};
  LogFile log_;

  State state_ = State::creating;
  Command command_ = Command::none;
  pid_t command_pid_ = 0;
  int64_t command_deadline_ = 0;
  bool command_timed_out_ = false;
  int starter_ = -1;  // index of the client that waits for start
  pid_t init_ = 0;
  bool init_gone_ = false;
  int init_status_ = 0;
  int64_t drain_deadline_ = 0;
  int64_t poweroff_deadline_ = 0;  // the device goes down: the container ends by then
  int64_t status_retry_at_ = 0;    // the file could not be written: when to try again
  pid_t orphan_pid_[8] = {};
  int orphan_status_[8] = {};
  int orphans_ = 0;
  bool hung_up_ = false;  // the terminal has no other side at the moment
  bool leaving_ = false;
  bool done_ = false;

  int exit_code_ = 0, exit_signal_ = 0;
  bool oom_killed_ = false;
  bool start_failed_ = false;
  timespec created_at_{}, started_at_{}, finished_at_{};
  Text<2048> message_;
  Text<12288> status_;
  Client* clients_[max_clients] = {};
};

}  // namespace limpet::shim
