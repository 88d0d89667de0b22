// The API for parts of the same process: calls become exchanges in memory against the server's handler, with
// the identity the wiring gives. No copy of large bodies beyond the answer itself, no socket, no TLS.
//
// The handler must outlive the client; pending calls may outlive neither. Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "http/message.h"
#include "loop/loop.h"

namespace limpet::client {

class InProcessClient final : public Client {
 public:
  // `user` and `groups` as authentication would find them ("system:node:edge-1", {"system:masters"}).
  // `term`: of whoever decides as the leader of the cluster: the raft term in which that is so, asked at each
  // call (0: in none). Writes then happen in that term or not at all, and are forwarded to nobody (503).
  InProcessClient(loop::Loop& loop, http::Handler handler, std::string user, std::vector<std::string> groups,
                  std::function<uint64_t()> term = nullptr);

  [[nodiscard]] std::unique_ptr<Pending> call(Call call, std::function<void(Result<Reply>)> done) override;
  [[nodiscard]] std::unique_ptr<Pending> stream(Call call, Stream stream) override;

 private:
  Result<http::Request> request(Call call) const;

  loop::Loop& loop_;
  http::Handler handler_;
  std::string user_;
  std::vector<std::string> groups_;
  std::function<uint64_t()> term_;
};

}  // namespace limpet::client
