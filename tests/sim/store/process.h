// A daemon's process in virtual time: the loop, its timers, the storage thread and the failpoints that the
// real store is linked with here. process.cc defines them in place of src/loop, storage_thread.cc and
// failpoint.cc; a store cannot tell.
//
// A process ends by die() alone, also in the middle of what it does, as by SIGKILL: what it asks for from
// then on is not done, and nobody hears of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "clockwork.h"

namespace sim {

class Process : public std::enable_shared_from_this<Process> {
 public:
  explicit Process(Clockwork& clock) : clock_(clock) {}

  // Runs it now as a turn of this process, or when it goes on after a pause, or never.
  void turn(std::function<void()> what);
  void later(Time delay, std::function<void()> what);
  static Process* current() { return current_; }  // whose turn it is

  bool alive() const { return alive_; }
  void die();
  void on_death(std::function<void()> f) { on_death_ = std::move(f); }
  bool paused() const { return paused_until_ > clock_.now(); }
  void pause_until(Time when) { paused_until_ = std::max(paused_until_, when); }
  void stall_until(Time when) { stalled_until_ = std::max(stalled_until_, when); }
  void heal() { paused_until_ = stalled_until_ = writes_left_ = 0; }
  // Dies in the middle of what it writes: after so many writes, truncations and syncs of its files.
  void die_writing(uint64_t after) { writes_left_ = after; }
  void wrote();
  // Its clock runs so fast, in thousandths.
  void drift(uint64_t permille) { rate_ = permille; }
  Time own_time() const { return clock_.now() * rate_ / 1000; }
  Time real(Time own) const { return own * 1000 / rate_; }
  // When the storage thread gets to a job that is given to it now.
  Time disk_delay();
  Clockwork& clock() { return clock_; }

  // At the n-th hit of this name from now on: the error path of the code, or death.
  void arm(std::string name, bool kill, uint64_t nth);
  bool fired() const { return fired_; }  // an error of a failpoint was met
  bool hit(const std::string& name);     // true: take the error path

  static std::map<std::string, uint64_t> firings;  // by name, of all processes ever

 private:
  static Process* current_;
  Clockwork& clock_;
  bool alive_ = true, fired_ = false;
  std::function<void()> on_death_;
  Time paused_until_ = 0, stalled_until_ = 0, disk_free_ = 0;
  uint64_t rate_ = 1000;
  std::string armed_;
  bool kill_ = false;
  uint64_t left_ = 0, writes_left_ = 0;
};

}  // namespace sim
