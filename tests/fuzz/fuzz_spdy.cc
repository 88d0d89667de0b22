// A SPDY session: no crash, the same events whole and byte by byte, streams within their bound, answers that
// a reader of ours can read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/spdy.h"

using limpet::http::SpdyReader;
using limpet::http::SpdySession;

namespace {

constexpr size_t max_streams = 4;

// What a server does at each event; `out` gathers what it says.
void answer(SpdySession& session, SpdySession::Step step, std::string* out) {
  switch (step) {
    case SpdySession::Step::opened:
      session.reply(session.stream(), out);
      break;
    case SpdySession::Step::refused:
      session.reset(session.stream(), limpet::http::SpdyReset::refused, out);
      break;
    case SpdySession::Step::ended:
      session.data(session.stream(), "over", out);
      session.finish(session.stream(), out);
      break;
    case SpdySession::Step::ping:
      session.pong(session.ping_id(), out);
      break;
    case SpdySession::Step::error:
      session.goaway(limpet::http::SpdyGoaway::protocol_error, out);
      break;
    default:
      break;
  }
}

// Events as text; data without its cuts, and without the numbers of pieces.
std::string run(std::string_view bytes, size_t piece) {
  SpdySession session(max_streams);
  std::string events, out;
  uint32_t data_of = 0;
  bool failed = false;
  while (!bytes.empty() && !failed) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!failed) {
      const auto step = session.next(part);
      if (step == SpdySession::Step::need_more) break;
      if (session.open_streams() > max_streams) abort();
      if (step == SpdySession::Step::data && session.payload().empty()) abort();
      if (step != SpdySession::Step::data || data_of != session.stream()) {
        events +=
            "\n" + std::to_string(static_cast<int>(step)) + ":" + std::to_string(session.stream()) + ":";
      }
      data_of = step == SpdySession::Step::data ? session.stream() : 0;
      if (step == SpdySession::Step::data || step == SpdySession::Step::error) events += session.payload();
      if (step == SpdySession::Step::opened) {
        for (const auto& h : session.headers().list()) events += h.name + "=" + h.value + ";";
      }
      answer(session, step, &out);
      failed = step == SpdySession::Step::error;
    }
  }
  SpdyReader reader;
  std::string_view said = out;
  while (!said.empty()) {
    if (reader.next(said) == SpdyReader::Step::error) abort();
  }
  return events + "\n" + out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (run(bytes, bytes.size() + 1) != run(bytes, 1)) abort();
  return 0;
}
