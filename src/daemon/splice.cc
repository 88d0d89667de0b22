#include "daemon/splice.h"

#include <utility>

namespace limpet::daemon {
namespace {

constexpr int64_t linger_ms = 5'000;  // for the last bytes of a side that has ended

}  // namespace

struct Splice::State : std::enable_shared_from_this<State> {
  State(loop::Loop& l, std::unique_ptr<loop::Stream> a, std::unique_ptr<loop::Stream> b,
        std::function<void()> end)
      : loop(l), sides{std::move(a), std::move(b)}, on_end(std::move(end)) {}

  void start() {
    for (int i : {0, 1}) {
      const auto with = [weak = weak_from_this(), i](auto f) {
        if (const auto self = weak.lock(); self && self->sides[i]) f(*self);
      };
      sides[i]->set_events({
          .on_read = [with, i](std::string_view bytes) { with([&](State& s) { s.read(i, bytes); }); },
          .on_eof = [with, i] { with([&](State& s) { s.eof(i); }); },
          .on_error = [with](Error) { with([](State& s) { s.close(false); }); },
          .on_drain =
              [with, i] {
                with([&](State& s) {
                  if (!s.ended[1 - i]) s.sides[1 - i]->read_start();
                });
              },
      });
    }
    for (auto& s : sides) s->read_start();
  }
  void read(int from, std::string_view bytes) {
    loop::Stream& to = *sides[1 - from];
    to.write(std::string(bytes));
    if (to.write_queue_size() > queue_bound) sides[from]->read_stop();
  }
  void eof(int from) {
    ended[from] = true;
    sides[1 - from]->shutdown();
    if (ended[1 - from]) close(true);
  }
  void close(bool properly) {
    for (auto& s : sides) {
      // Their own callbacks may be on the stack; an orderly end leaves time for what is queued.
      if (properly) {
        loop::close_gently(loop, std::move(s), linger_ms, true);
      } else {
        s.reset();
      }
    }
    loop.defer([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        if (const auto f = std::exchange(self->on_end, nullptr)) f();
      }
    });
  }

  loop::Loop& loop;
  std::unique_ptr<loop::Stream> sides[2];
  std::function<void()> on_end;
  bool ended[2] = {false, false};
};

Splice::Splice(loop::Loop& loop, std::unique_ptr<loop::Stream> a, std::unique_ptr<loop::Stream> b,
               std::function<void()> on_end)
    : state_(std::make_shared<State>(loop, std::move(a), std::move(b), std::move(on_end))) {
  state_->start();
}

Splice::~Splice() = default;

}  // namespace limpet::daemon
