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
  InProcessClient(loop::Loop& loop, http::Handler handler, std::string user, std::vector<std::string> groups);

  [[nodiscard]] std::unique_ptr<Pending> call(Call call, std::function<void(Result<Reply>)> done) override;
  [[nodiscard]] std::unique_ptr<Pending> stream(Call call, Stream stream) override;

 private:
  Result<http::Request> request(Call call) const;

  loop::Loop& loop_;
  http::Handler handler_;
  std::string user_;
  std::vector<std::string> groups_;
};

}  // namespace limpet::client
