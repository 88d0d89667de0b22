// The service account tokens that one pod's projected volumes show: asked of the API (TokenRequest), bound to
// the pod, so that they end with it, and renewed when four fifths of their life are over.
//
// Held in memory only; a worker owns one of these. Destroying it cancels what is under way.
// https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "client/client.h"
#include "node/objects.h"
#include "node/pod/spec.h"
#include "node/pod/volumes.h"

namespace limpet::node {

class AccountTokens {
 public:
  AccountTokens(client::Client& client, Clock& clock) : client_(client), clock_(clock) {}

  // Asks for what is missing or due, then calls back; at once when nothing is. While an old token is good, a
  // refusal is no error: it is asked again a minute later.
  void update(const PodSpec& pod, std::function<void(Result<>)> done);
  void add_to(ObjectMap* objects) const;  // as "tokens/..." (token_name() of volumes.h)
  bool due(int64_t now_ms) const;
  int64_t next_ms() const;  // when the next is due; -1: never

 private:
  struct Token {
    SharedBytes text;
    int64_t due_ms = 0, expires_ms = 0;
  };
  void next();
  void answered(Result<client::Reply> reply);

  client::Client& client_;
  Clock& clock_;
  std::string ns_, pod_, uid_, account_;
  std::vector<TokenWish> wishes_;  // still to be asked for
  std::map<std::string, Token> tokens_;
  std::function<void(Result<>)> done_;
  std::unique_ptr<client::Pending> call_;
};

}  // namespace limpet::node
