#include <list>

#include "loop/internal.h"
#include "loop/stream.h"

namespace limpet::loop {
namespace {

constexpr size_t max_discarded = 8 * 1024 * 1024;

struct Lingering {
  Lingering(Loop& l, std::unique_ptr<Stream> s) : loop(l), stream(std::move(s)), timer(l, "linger") {}
  Loop& loop;
  std::unique_ptr<Stream> stream;
  Timer timer;
  size_t discarded = 0;
  bool peer_done = false;
  std::list<std::shared_ptr<void>>::iterator place;

  void end() {
    auto& parked = loop.impl().parked;
    const auto self = std::move(*place);  // goes at the end of this call
    parked.erase(place);
    stream.reset();
    timer.stop();
  }
};

}  // namespace

void close_gently(Loop& loop, std::unique_ptr<Stream> stream, int64_t limit_ms, bool peer_done) {
  if (!stream) return;
  stream->shutdown();
  if (peer_done && stream->write_queue_size() == 0) return;
  auto lingering = std::make_shared<Lingering>(loop, std::move(stream));
  Lingering* l = lingering.get();
  auto& parked = loop.impl().parked;
  l->place = parked.insert(parked.end(), std::move(lingering));
  l->stream->set_events({.on_read =
                             [l](std::string_view bytes) {
                               l->discarded += bytes.size();
                               if (l->discarded > max_discarded) l->end();
                             },
                         .on_eof =
                             [l] {
                               l->peer_done = true;
                               if (l->stream->write_queue_size() == 0) l->end();
                             },
                         .on_error = [l](Error) { l->end(); },
                         .on_drain =
                             [l] {
                               if (l->peer_done) l->end();
                             }});
  l->peer_done = peer_done;
  l->stream->read_start();
  l->timer.start(limit_ms, [l] { l->end(); });
}

}  // namespace limpet::loop
