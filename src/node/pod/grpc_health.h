// One gRPC health check (grpc.health.v1.Health/Check) as bytes: HTTP/2 with prior knowledge, one stream, one
// message each way. Pure; the prober moves the bytes.
//
// Compression of headers is never needed: ours are sent as literals, the server's are not read, since the
// verdict is in the message. https://github.com/grpc/grpc/blob/master/doc/health-checking.md, RFC 9113, 7541
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace limpet::node {

class GrpcHealth {
 public:
  struct Verdict {
    bool serving = false;
    std::string message;  // why not
  };
  // authority: "10.42.0.7:9090"; service: as in the probe, "" for the server as a whole.
  GrpcHealth(const std::string& authority, const std::string& service);

  // What is to be sent now; empty afterwards.
  std::string take_output() { return std::exchange(output_, std::string()); }
  // Bytes from the server; the verdict as soon as there is one.
  std::optional<Verdict> feed(std::string_view bytes);
  // The server closed the connection.
  Verdict closed() const;

 private:
  std::optional<Verdict> frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
  std::optional<Verdict> data(uint8_t flags, std::string_view payload);

  std::string output_, input_, message_;
  size_t received_ = 0;
};

}  // namespace limpet::node
