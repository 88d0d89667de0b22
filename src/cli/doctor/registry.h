// Asks registries as limpetd does: over the same mirrors and proxy, trusting the same authorities. Without
// credentials: who answers that it wants some is there.
//
// Owned by the command; turns the loop while it waits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/doctor/checks.h"
#include "daemon/config.h"
#include "image/transport.h"
#include "loop/loop.h"
#include "tls/tls.h"

namespace limpet::cli::doctor {

class RegistryAsker {
 public:
  RegistryAsker(loop::Loop& loop, Clock& clock, const daemon::Config& config);
  // GET /v2/ of each of these registries ("docker.io", "host:5000") on every way to it, all at once; for
  // patience_ms at most after their names were looked up. In the same order.
  std::vector<Ways> ask(const std::vector<std::string>& registries, int64_t patience_ms);

 private:
  struct Question;
  // Empty, or why there is no use in asking: the name that must be looked up is not known.
  std::string name_problem(const http::Origin& origin);
  // Over which proxy; empty: none.
  std::string proxy_for(const http::Origin& origin) const;
  void send(Question& question);

  loop::Loop& loop_;
  const daemon::Config& config_;
  tls::Engine engine_;
  image::Transport transport_;
  std::string problem_;  // of the configuration; then nothing is asked
  std::map<std::string, std::string> names_;
  bool resolver_silent_ = false;
};

// The registry of an image's name; empty when it is none. Also of "https://host:5000/path".
std::string registry_of_image(std::string_view image);
std::string registry_of_url(std::string text);

}  // namespace limpet::cli::doctor
