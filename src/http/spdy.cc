#include "http/spdy.h"

namespace limpet::http {
namespace {

constexpr uint8_t flag_unidirectional = 2;
constexpr uint32_t id_mask = 0x7fffffff;

}  // namespace

SpdySession::Step SpdySession::fail(std::string_view why) {
  failed_ = true;
  why_ = why;
  out_ = why_;
  return Step::error;
}

SpdySession::Step SpdySession::next(std::string_view& input) {
  if (failed_) return Step::error;
  if (std::exchange(end_next_, false)) {
    if (const Step step = end_of(stream_); step != Step::need_more) return step;
  }
  for (;;) {
    Step step = Step::need_more;
    switch (reader_.next(input)) {
      case SpdyReader::Step::need_more:
        return Step::need_more;
      case SpdyReader::Step::error:
        return fail(reader_.payload());
      case SpdyReader::Step::data:
        step = take_data();
        break;
      case SpdyReader::Step::control:
        step = take_control();
        break;
    }
    if (step != Step::need_more) return step;  // else: nothing that concerns the caller
  }
}

// The client's half of the stream is over, told once.
SpdySession::Step SpdySession::end_of(uint32_t stream) {
  const auto it = streams_.find(stream);
  if (it == streams_.end() || it->second.client_done) return Step::need_more;
  it->second.client_done = true;
  if (it->second.server_done) streams_.erase(it);
  stream_ = stream;
  return Step::ended;
}

SpdySession::Step SpdySession::take_data() {
  const uint32_t id = reader_.stream();
  if (id == 0 || id > last_stream_ || id % 2 == 0) return fail("data for a stream that was never opened");
  const auto it = streams_.find(id);
  // Data may have been under way when the stream was reset or refused.
  if (it == streams_.end() || it->second.client_done) return Step::need_more;
  if (reader_.payload().empty()) return reader_.fin() ? end_of(id) : Step::need_more;
  stream_ = id;
  out_ = reader_.payload();
  end_next_ = reader_.fin();
  return Step::data;
}

SpdySession::Step SpdySession::take_control() {
  const std::string_view payload = reader_.payload();
  switch (reader_.type()) {
    case SpdyType::syn_stream:
      return take_syn_stream(payload);
    case SpdyType::syn_reply:
      return fail("an answer to a stream that was not opened");
    case SpdyType::rst_stream:
      return take_reset(payload);
    case SpdyType::settings:
      if (payload.size() < 4 || payload.size() % 8 != 4 || spdy_number(payload, 0) != payload.size() / 8) {
        return fail("a malformed SETTINGS frame");
      }
      return Step::need_more;
    case SpdyType::ping:
      return take_ping(payload);
    case SpdyType::goaway:
      return payload.size() == 8 ? Step::goaway : fail("a malformed GOAWAY frame");
    case SpdyType::headers:
      return take_headers(payload);
    case SpdyType::window_update:
      return payload.size() == 8 ? Step::need_more : fail("a malformed WINDOW_UPDATE frame");
  }
  return fail("an unknown frame");
}

SpdySession::Step SpdySession::take_syn_stream(std::string_view payload) {
  if (payload.size() < 10) return fail("a malformed SYN_STREAM frame");
  const uint32_t id = spdy_number(payload, 0) & id_mask;
  Result<Headers> headers = header_reader_.read(payload.substr(10));  // also of a stream that is refused
  if (!headers) return fail("SYN_STREAM: " + headers.error().message);
  if (id % 2 == 0 || id <= last_stream_) return fail("a stream whose id is not the next of a client");
  last_stream_ = stream_ = id;
  if (streams_.size() >= max_streams_) return Step::refused;
  streams_[id].server_done = (reader_.flags() & flag_unidirectional) != 0;
  headers_ = std::move(*headers);
  end_next_ = (reader_.flags() & spdy_fin) != 0;
  return Step::opened;
}

// Further headers of a stream say nothing to us, but the compression goes on over them, and they may be the
// last frame.
SpdySession::Step SpdySession::take_headers(std::string_view payload) {
  if (payload.size() < 4) return fail("a malformed HEADERS frame");
  const uint32_t id = spdy_number(payload, 0) & id_mask;
  const Result<Headers> headers = header_reader_.read(payload.substr(4));
  if (!headers) return fail("HEADERS: " + headers.error().message);
  return (reader_.flags() & spdy_fin) != 0 ? end_of(id) : Step::need_more;
}

SpdySession::Step SpdySession::take_reset(std::string_view payload) {
  if (payload.size() != 8) return fail("a malformed RST_STREAM frame");
  const uint32_t id = spdy_number(payload, 0) & id_mask;
  if (streams_.erase(id) == 0) return Step::need_more;
  stream_ = id;
  return Step::reset;
}

SpdySession::Step SpdySession::take_ping(std::string_view payload) {
  if (payload.size() != 4) return fail("a malformed PING frame");
  ping_id_ = spdy_number(payload, 0);
  return ping_id_ % 2 == 1 ? Step::ping : Step::need_more;  // even: an answer, and we ask nothing
}

void SpdySession::reply(uint32_t stream, std::string* out) {
  const auto it = streams_.find(stream);
  if (it == streams_.end() || it->second.server_done) return;
  append_spdy_control(out, SpdyType::syn_reply, 0, spdy_numbers(stream) + header_writer_.write({}));
}

void SpdySession::data(uint32_t stream, std::string_view bytes, std::string* out) {
  const auto it = streams_.find(stream);
  if (it == streams_.end() || it->second.server_done) return;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, spdy_data_piece);
    append_spdy_data(out, stream, piece, false);
    bytes.remove_prefix(piece.size());
  }
}

void SpdySession::finish(uint32_t stream, std::string* out) {
  const auto it = streams_.find(stream);
  if (it == streams_.end() || it->second.server_done) return;
  it->second.server_done = true;
  if (it->second.client_done) streams_.erase(it);
  append_spdy_data(out, stream, {}, true);
}

void SpdySession::reset(uint32_t stream, SpdyReset why, std::string* out) {
  // A refused stream is in no table.
  if (streams_.erase(stream) == 0 && why != SpdyReset::refused) return;
  append_spdy_control(out, SpdyType::rst_stream, 0, spdy_numbers(stream, static_cast<uint32_t>(why)));
}

void SpdySession::pong(uint32_t id, std::string* out) {
  append_spdy_control(out, SpdyType::ping, 0, spdy_numbers(id));
}

void SpdySession::goaway(SpdyGoaway why, std::string* out) {
  append_spdy_control(out, SpdyType::goaway, 0, spdy_numbers(last_stream_, static_cast<uint32_t>(why)));
}

}  // namespace limpet::http
