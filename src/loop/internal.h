// What the files of this room share: the loop's inner state and the close protocol. Not for other rooms.
#pragma once

#include <pthread.h>
#include <uv.h>

#include <atomic>
#include <list>
#include <vector>

#include "base/assert.h"
#include "loop/loop.h"
#include "loop/turns.h"

namespace limpet::loop {

struct Loop::Impl {
  struct Posted {
    Task task;
    Posted* next = nullptr;
  };

  uv_loop_t loop;
  uv_async_t async;  // wakes the loop for `posted`
  uv_idle_t idle;    // keeps the loop from sleeping while tasks are deferred
  uv_check_t check;  // runs deferred tasks right after the I/O callbacks that made them
  pthread_t thread{};
  std::atomic<Posted*> posted{nullptr};  // newest first; the only thing other threads touch
  std::vector<Task> deferred;
  size_t live = 0;
  size_t lingering = 0;                     // children killed by a destroyed Process and not yet reaped
  std::list<std::shared_ptr<void>> parked;  // streams that close_gently() owns
  std::unique_ptr<char[]> read_buffer;      // one for all streams: bytes are handed on before the next read

  static constexpr size_t read_buffer_size = 64 * 1024;
  char* buffer();
  void run_deferred();
  void run_posted();

  // A turn ends after the I/O callbacks and what they deferred.
  TurnStats turns;
  uint64_t turn_began_ns = 0, idle_ns = 0;
  void measure_from_here();
  void turn_ended();
};

inline Loop::Impl& impl_of(uv_loop_t* loop) { return *static_cast<Loop::Impl*>(loop->data); }

// The close protocol. An Impl struct holds its uv handle as a member named `handle`; whoever initialises the
// handle calls opened(), whoever owns the Impl ends it with close_handle(), which frees it in the close
// callback.
template <class T>
void opened(T* impl, Loop& loop) {
  impl->handle.data = impl;
  ++loop.impl().live;
}

template <class T>
void close_handle(T* impl) noexcept {
  uv_close(reinterpret_cast<uv_handle_t*>(&impl->handle), [](uv_handle_t* handle) noexcept {
    --impl_of(handle->loop).live;
    delete static_cast<T*>(handle->data);
  });
}

// The Error of a negative libuv status (which is a negative errno, save for a few of the resolver).
std::unexpected<Error> fail_uv(int status, std::string_view context);

}  // namespace limpet::loop
