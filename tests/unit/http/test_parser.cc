// One corpus, the same verdict from every library and for every way to cut the bytes.
#include <doctest/doctest.h>

#include <algorithm>

#include "corpus.h"
#include "http/parser.h"

using namespace limpet;
using namespace limpet::http;

namespace {

struct Outcome {
  int verdict = 0;
  int messages = 0;
  std::string body;
  std::string headers;
};

Outcome run(Parser::Kind kind, std::string_view bytes, size_t piece) {
  Parser parser(kind);
  Outcome out;
  bool failed = false;
  const auto drain = [&](std::string_view& input) {
    for (;;) {
      switch (parser.next(input)) {
        case Parser::Step::need_more:
          return;
        case Parser::Step::head:
          out.headers += parser.head().method + " " + parser.head().target + "\n";
          for (const Header& h : parser.head().headers.list()) out.headers += h.name + "=" + h.value + "\n";
          break;
        case Parser::Step::body:
          out.body += parser.body();
          break;
        case Parser::Step::complete:
          ++out.messages;
          break;
        case Parser::Step::error:
          failed = true;
          return;
      }
    }
  };
  while (!bytes.empty() && !failed) {
    // A copy of exactly that size, so that the sanitizer sees every read beyond it.
    const std::string part(bytes.substr(0, piece));
    bytes.remove_prefix(part.size());
    std::string_view view = part;
    drain(view);
  }
  if (!failed) {
    const auto step = parser.end_of_input();
    if (step == Parser::Step::complete) ++out.messages;
    if (step == Parser::Step::error) out.verdict = -1;
  } else {
    out.verdict = parser.error_status();
    CHECK_FALSE(parser.error_text().empty());
    std::string_view more = "x";
    CHECK(parser.next(more) == Parser::Step::error);
  }
  return out;
}

void check_corpus(Parser::Kind kind, const std::vector<CorpusEntry>& corpus) {
  for (const CorpusEntry& entry : corpus) {
    CAPTURE(entry.name);
    std::string headers;
    for (const size_t piece : {size_t{1} << 30, size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{4096}}) {
      CAPTURE(piece);
      const Outcome got = run(kind, entry.bytes, piece);
      CHECK(got.verdict == entry.verdict);
      CHECK(got.messages == entry.messages);
      CHECK(got.body == entry.body);
      if (headers.empty()) headers = got.headers;
      CHECK(got.headers == headers);
    }
  }
}

}  // namespace

TEST_CASE("requests") { check_corpus(Parser::Kind::request, request_corpus()); }
TEST_CASE("responses") { check_corpus(Parser::Kind::response, response_corpus()); }

TEST_CASE("what a head says") {
  Parser parser(Parser::Kind::request);
  std::string_view input =
      "PATCH /api?x=1 HTTP/1.1\r\nHost: a\r\nContent-Type:application/json \t\r\nX-Empty:\r\nCookie: "
      "a\r\nCookie: b\r\n"
      "Content-Length: 3\r\n\r\nabcGET";
  REQUIRE(parser.next(input) == Parser::Step::head);
  const MessageHead& head = parser.head();
  CHECK(head.method == "PATCH");
  CHECK(head.target == "/api?x=1");
  CHECK(head.headers.get("content-type") == "application/json");
  CHECK(head.headers.has("X-Empty"));
  CHECK(head.headers.get("X-Empty") == "");
  CHECK(head.headers.all("cookie") == std::vector<std::string_view>{"a", "b"});
  CHECK(head.content_length == 3);
  CHECK(head.keep_alive);
  REQUIRE(parser.next(input) == Parser::Step::body);
  CHECK(parser.body() == "abc");
  CHECK(parser.next(input) == Parser::Step::complete);
  CHECK(input == "GET");
  CHECK_FALSE(parser.idle());
}

TEST_CASE("keep-alive by version and Connection") {
  struct Row {
    const char* bytes;
    bool keep;
  };
  const Row rows[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: te, Close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    Parser parser(Parser::Kind::request);
    std::string_view input = row.bytes;
    REQUIRE(parser.next(input) == Parser::Step::head);
    CHECK(parser.head().keep_alive == row.keep);
  }
}

TEST_CASE("no input says nothing, wherever the message was cut") {
  const std::string_view bytes =
      "\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
  Parser parser(Parser::Kind::request);
  bool complete = false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string_view part = bytes.substr(i, 1);
    for (Parser::Step step; (step = parser.next(part)) != Parser::Step::need_more;) {
      REQUIRE(step != Parser::Step::error);
      complete = complete || step == Parser::Step::complete;
    }
    if (complete) break;
    std::string_view nothing;
    CHECK(parser.next(nothing) == Parser::Step::need_more);
  }
  CHECK(complete);
}

TEST_CASE("a response to HEAD has no body") {
  Parser parser(Parser::Kind::response);
  std::string_view input =
      "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
  REQUIRE(parser.next(input) == Parser::Step::head);
  parser.no_body();
  CHECK(parser.next(input) == Parser::Step::complete);
  REQUIRE(parser.next(input) == Parser::Step::head);
  CHECK(parser.head().status == 404);
}
