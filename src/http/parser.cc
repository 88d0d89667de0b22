#include "http/parser.h"

#include <algorithm>

#include "http/parser_library.h"
#include "http/parser_lines.h"

namespace limpet::http {

namespace {
constexpr size_t start_line_slack = 64;  // method, version and spaces around the longest target
}

Parser::Step Parser::fail(int status, std::string text) {
  state_ = State::failed;
  error_status_ = status;
  error_text_ = std::move(text);
  pending_ = std::string();
  return Step::error;
}

Parser::Step Parser::next(std::string_view& input) {
  body_ = {};
  switch (state_) {
    case State::done:
      state_ = State::head;
      head_ = MessageHead{};
      [[fallthrough]];
    case State::head:
      return read_head(input);
    case State::fixed:
    case State::chunk_data:
      return read_fixed(input);
    case State::chunk_line:
      return read_chunk_line(input);
    case State::chunk_end:
      return read_chunk_end(input);
    case State::trailer:
      return read_trailer(input);
    case State::until_close:
      if (input.empty()) return Step::need_more;
      body_ = std::exchange(input, std::string_view{});
      return Step::body;
    case State::failed:
      return Step::error;
  }
  return Step::error;
}

Parser::Step Parser::end_of_input() {
  if (state_ == State::failed) return Step::error;
  if (state_ == State::until_close) {
    state_ = State::done;
    return Step::complete;
  }
  if (state_ == State::done || idle()) return Step::need_more;
  return fail(400, "the connection ended in the middle of a message");
}

// Checks line by line as lines become complete, so that a section that can never end is refused at its first
// bad line.
Parser::Step Parser::read_head(std::string_view& input) {
  if (input.empty()) return Step::need_more;
  if (pending_.empty()) {
    // Empty lines before the start line are forgiven (RFC 9112 section 2.2).
    while (input.starts_with("\r\n")) input.remove_prefix(2);
    if (input.empty()) return Step::need_more;
    const char first = input.front();
    if (input != "\r" && (first <= 0x20 || first > 0x7e)) return fail(400, "this is not HTTP");
  }
  const bool copied = !pending_.empty();
  const size_t before = pending_.size();
  if (copied) {
    // At most one byte beyond the limit is ever kept.
    pending_.append(input.substr(0, std::min(input.size(), limits_.header_section_bytes + 1 - before)));
    if (before == 1 && pending_.starts_with("\r\n")) {
      input.remove_prefix(1);
      pending_.clear();
      scanned_ = 0;
      return read_head(input);
    }
    if (before == 1 && pending_[0] == '\r') return fail(400, "this is not HTTP");
  }
  const std::string_view data = copied ? std::string_view(pending_) : input;

  for (;;) {
    const std::string_view rest = data.substr(head_bytes_);
    const size_t feed = rest.find('\n', std::max(scanned_, head_bytes_) - head_bytes_);
    const size_t line_end = feed == std::string_view::npos ? rest.size() : feed + 1;
    if (head_lines_ == 0 && line_end > limits_.target_bytes + start_line_slack && kind_ == Kind::request) {
      const auto verdict =
          check_request_line(rest.substr(0, limits_.target_bytes + start_line_slack), limits_.target_bytes);
      return fail(verdict.status != 0 ? verdict.status : 414,
                  verdict.status != 0 ? verdict.text : "the request target is too long");
    }
    if (head_bytes_ + line_end > limits_.header_section_bytes) {
      return fail(431, strf("the header section is larger than %zu bytes", limits_.header_section_bytes));
    }
    if (feed == std::string_view::npos) break;
    if (feed == 0 || rest[feed - 1] != '\r') return fail(400, "line feed without carriage return");
    const std::string_view line = rest.substr(0, feed - 1);
    const size_t section_size = head_bytes_ + line_end;
    if (head_lines_ > 0 && line.empty()) {
      const Step step = take_head(data.substr(0, section_size));
      input.remove_prefix(section_size - before);
      pending_ = std::string();
      head_bytes_ = head_lines_ = scanned_ = 0;
      return step;
    }
    const LineVerdict verdict = head_lines_ > 0          ? check_header_line(line)
                                : kind_ == Kind::request ? check_request_line(line, limits_.target_bytes)
                                                         : check_status_line(line);
    if (verdict.status != 0) return fail(verdict.status, verdict.text);
    if (head_lines_++ > limits_.header_count)
      return fail(431, strf("more than %zu header lines", limits_.header_count));
    head_bytes_ = section_size;
  }
  scanned_ = data.size();
  if (!copied) pending_.assign(input);
  input = {};
  return Step::need_more;
}

Parser::Step Parser::take_head(std::string_view section) {
  const Framing framing = check_framing(section, kind_ == Kind::request);
  if (framing.verdict.status != 0) return fail(framing.verdict.status, framing.verdict.text);
  if (const char* complaint = read_head_section(section, kind_, &head_)) return fail(400, complaint);
  head_.chunked = framing.chunked;
  head_.content_length = framing.content_length;
  head_.keep_alive = head_.minor_version == 1 ? !head_.headers.has_token("Connection", "close")
                                              : head_.headers.has_token("Connection", "keep-alive");
  state_ = body_state();
  if (state_ == State::until_close) head_.keep_alive = false;
  left_ = framing.content_length > 0 && !bodiless() ? static_cast<uint64_t>(framing.content_length) : 0;
  trailer_bytes_ = 0;
  return Step::head;
}

bool Parser::bodiless() const {
  return kind_ == Kind::response && (head_.status < 200 || head_.status == 204 || head_.status == 304);
}

Parser::State Parser::body_state() const {
  if (bodiless()) return State::fixed;
  if (head_.chunked) return State::chunk_line;
  if (kind_ == Kind::response && head_.content_length < 0) return State::until_close;
  return State::fixed;
}

void Parser::no_body() {
  state_ = State::fixed;
  left_ = 0;
}

Parser::Step Parser::read_fixed(std::string_view& input) {
  if (left_ == 0) {
    if (state_ == State::chunk_data) {
      state_ = State::chunk_end;
      return read_chunk_end(input);
    }
    state_ = State::done;
    return Step::complete;
  }
  if (input.empty()) return Step::need_more;
  body_ = input.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, input.size())));
  input.remove_prefix(body_.size());
  left_ -= body_.size();
  return Step::body;
}

// One line of chunked framing, gathered in pending_ when it comes in pieces. False when more input is needed.
bool Parser::take_line(std::string_view& input, size_t limit, std::string_view* line, bool* too_long) {
  const size_t feed = input.find('\n');
  const size_t taken = feed == std::string_view::npos ? input.size() : feed + 1;
  *too_long = pending_.size() + taken > limit;
  if (*too_long) return false;
  if (!pending_.empty() || feed == std::string_view::npos) {
    pending_.append(input.substr(0, taken));
    input.remove_prefix(taken);
    if (feed == std::string_view::npos) return false;
    *line = pending_;
    return true;
  }
  *line = input.substr(0, taken);
  input.remove_prefix(taken);
  return true;
}

Parser::Step Parser::read_chunk_line(std::string_view& input) {
  std::string_view line;
  bool too_long = false;
  if (!take_line(input, limits_.chunk_line_bytes, &line, &too_long)) {
    return too_long ? fail(400, "the chunk size line is too long") : Step::need_more;
  }
  const bool good = line.ends_with("\r\n") && parse_chunk_size(line.substr(0, line.size() - 2), &left_);
  pending_.clear();
  if (!good) return fail(400, "malformed chunk size");
  if (left_ == 0) {
    state_ = State::trailer;
    return read_trailer(input);
  }
  state_ = State::chunk_data;
  return read_fixed(input);
}

Parser::Step Parser::read_chunk_end(std::string_view& input) {
  while (!input.empty()) {
    const char expected = pending_.empty() ? '\r' : '\n';
    if (input.front() != expected) return fail(400, "a chunk does not end where it says");
    input.remove_prefix(1);
    if (expected == '\n') {
      pending_.clear();
      state_ = State::chunk_line;
      return read_chunk_line(input);
    }
    pending_ = "\r";
  }
  return Step::need_more;
}

// Trailer fields are checked and thrown away: nothing here uses them.
Parser::Step Parser::read_trailer(std::string_view& input) {
  for (;;) {
    std::string_view line;
    bool too_long = false;
    if (!take_line(input, limits_.header_section_bytes - trailer_bytes_, &line, &too_long)) {
      return too_long ? fail(431, "the trailer section is too large") : Step::need_more;
    }
    trailer_bytes_ += line.size();
    if (!line.ends_with("\r\n")) return fail(400, "line feed without carriage return");
    line.remove_suffix(2);
    if (line.empty()) {
      pending_ = std::string();
      state_ = State::done;
      return Step::complete;
    }
    const LineVerdict verdict = check_header_line(line);
    pending_.clear();
    if (verdict.status != 0) return fail(verdict.status, verdict.text);
  }
}

}  // namespace limpet::http
