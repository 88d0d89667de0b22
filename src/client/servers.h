// Which API server to ask: the ones that are known, the one in use, and how long to leave alone one that
// failed. Pure: time and randomness come in.
//
// One server is in use and stays so while it works. When it fails, another is drawn: of those that do not
// rest after a failure first one that the configuration names, then one that the cluster told of, at random
// within each, so that the agents of a dead server spread over the others. The rest grows with each failure
// in a row, from half a second to ten, with jitter.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

namespace limpet::client {

struct Server {
  std::string host;  // name or address, without brackets
  uint16_t port = 6443;
  auto operator<=>(const Server&) const = default;
  std::string text() const;  // "10.0.0.5:6443", "[fd00::1]:6443"
};

class Servers {
 public:
  static constexpr size_t max_servers = 64;  // beyond it learned ones are left out

  explicit Servers(Random& random) : random_(random) {}

  // What is known of a server that stays is kept. True when the one in use is no longer among them.
  bool replace(const std::vector<Server>& configured, const std::vector<Server>& learned);

  struct Choice {
    Server server;
    int64_t wait_ms = 0;  // it rests that long yet: not before
  };
  // The one in use, unless it is among `tried`; else another, which then is the one in use. Nothing when all
  // were tried.
  std::optional<Choice> choose(const std::set<Server>& tried, int64_t now_ms);
  void worked(const Server& server);
  // Failures of several calls at once count as one.
  void failed(const Server& server, int64_t now_ms);

  const std::optional<Server>& in_use() const { return in_use_; }
  bool knows(const Server& server) const;
  size_t size() const { return known_.size(); }

 private:
  struct Known {
    Server server;
    bool configured = false;
    int64_t back_off_ms = 0;  // of the last failure; 0: it worked, or was not tried
    int64_t rests_until_ms = 0;
  };
  Known* find(const Server& server);

  Random& random_;
  std::vector<Known> known_;  // configured ones first
  std::optional<Server> in_use_;
};

}  // namespace limpet::client
