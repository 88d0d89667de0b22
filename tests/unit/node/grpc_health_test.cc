#include "node/pod/grpc_health.h"

#include <doctest/doctest.h>

#include <string>

using namespace limpet::node;

namespace {

std::string frame(int type, int flags, int stream, const std::string& payload) {
  std::string out;
  for (int shift : {16, 8, 0}) out.push_back(static_cast<char>(payload.size() >> shift & 0xff));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  out += std::string(3, '\0');
  out.push_back(static_cast<char>(stream));
  return out + payload;
}

std::string message(const std::string& body) {
  return std::string("\0\0\0\0", 4) + static_cast<char>(body.size()) + body;
}

std::string show(const std::optional<GrpcHealth::Verdict>& v) {
  return !v ? "-" : v->serving ? "serving" : v->message;
}

}  // namespace

TEST_CASE("the request of a gRPC health check") {
  GrpcHealth h("10.42.0.7:9090", "tide");
  const std::string out = h.take_output();
  CHECK(h.take_output().empty());
  REQUIRE(out.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  const std::string settings = frame(4, 0, 0, std::string("\0\1\0\0\0\0\0\2\0\0\0\0", 12));
  REQUIRE(out.substr(24).starts_with(settings));
  std::string headers =
      "\x83\x86\x04\x1c/grpc.health.v1.Health/Check\x01\x0e"
      "10.42.0.7:9090\x0f\x10\x10"
      "application/grpc\x0f\x2b\x0fkube-probe/1.35";
  headers += std::string(1, '\0') + "\x02te\x08trailers";
  CHECK(out.substr(24 + settings.size()) ==
        frame(1, 4, 1, headers) + frame(0, 1, 1, message("\x0a\x04tide")));
}

TEST_CASE("verdicts of a gRPC health check from what the server sends") {
  const std::string start = frame(4, 0, 0, "") + frame(4, 1, 0, "") +
                            frame(8, 0, 0, std::string("\0\0\1\0", 4)) + frame(1, 4, 1, "\x88");
  const std::string serving = message("\x08\x01");
  struct Row {
    const char* name;
    std::string bytes, verdict;
  };
  const Row rows[] = {
      {"serving", start + frame(0, 0, 1, serving), "serving"},
      {"in two frames", start + frame(0, 0, 1, serving.substr(0, 3)) + frame(0, 0, 1, serving.substr(3)),
       "serving"},
      {"padded", start + frame(0, 8, 1, std::string("\2", 1) + serving + std::string(2, '\0')), "serving"},
      {"a newer field", start + frame(0, 0, 1, message("\x12\x01x\x08\x01")), "serving"},
      {"not serving", start + frame(0, 0, 1, message("\x08\x02")),
       "service unhealthy (responded with \"NOT_SERVING\")"},
      {"unknown", start + frame(0, 0, 1, message("")), "service unhealthy (responded with \"UNKNOWN\")"},
      {"trailers only", frame(4, 0, 0, "") + frame(1, 5, 1, "\x88"),
       "health rpc failed: no health status in the answer; is grpc.health.v1.Health served there?"},
      {"reset", start + frame(3, 0, 1, std::string("\0\0\0\7", 4)),
       "health rpc failed: refused with HTTP/2 error 7"},
      {"going away", frame(7, 0, 0, std::string("\0\0\0\0\0\0\0\1", 8)),
       "health rpc failed: refused with HTTP/2 error 1"},
      {"HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n",
       "health rpc failed: the server does not speak HTTP/2 as gRPC does"},
      {"compressed", start + frame(0, 0, 1, "\1" + serving.substr(1)),
       "health rpc failed: the answer is compressed"},
      {"nothing yet", start, "-"},
      {"of another stream", start + frame(0, 1, 3, serving), "-"},
      {"padding beyond the end", start + frame(0, 8, 1, "\x7fx"),
       "health rpc failed: the answer is malformed"},
      {"a broken message", start + frame(0, 0, 1, message("\x12\x7f")),
       "health rpc failed: the answer is malformed"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    GrpcHealth whole("h:1", "");
    CHECK(show(whole.feed(row.bytes)) == row.verdict);
    GrpcHealth split("h:1", "");
    std::optional<GrpcHealth::Verdict> v;
    for (size_t i = 0; i < row.bytes.size() && !v; i++)
      v = split.feed(std::string_view(row.bytes).substr(i, 1));
    CHECK(show(v) == row.verdict);
  }
}

TEST_CASE("settings and pings of the server are answered, floods are not taken") {
  GrpcHealth h("h:1", "");
  (void)h.take_output();
  CHECK_FALSE(
      h.feed(frame(4, 0, 0, "") + frame(6, 0, 0, "12345678") + frame(6, 1, 0, "87654321")).has_value());
  CHECK(h.take_output() == frame(4, 1, 0, "") + frame(6, 1, 0, "12345678"));
  std::optional<GrpcHealth::Verdict> v;
  for (int i = 0; i < 100 && !v; i++) v = h.feed(frame(9, 0, 1, std::string(1000, 'x')));
  CHECK(show(v) == "health rpc failed: the server does not speak HTTP/2 as gRPC does");
}
