// Takes secrets out of text that leaves the device. Pure.
//
// Two ways, both over everything: values that are known to be secret (data of Secret objects, registry
// passwords) wherever they stand, also in base64; and what looks like one whoever wrote it: private keys,
// JWTs, "Bearer" and "Basic" credentials, passwords in URLs, values of keys whose name ends in password,
// token, secret and the like.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace limpet::cli {

class Scrubber {
 public:
  // Shorter values are words that stand everywhere by chance.
  static constexpr size_t shortest = 6;
  void know(std::string_view secret);
  // Every value of the data of a SecretList.
  void know_secrets(json::Ref list);
  // Credentials of a Docker config.json.
  void know_docker_config(std::string_view text);

  std::string text(std::string_view text) const;
  // Of a pod, in place: values of environment variables with such names, and the annotation that repeats the
  // whole object.
  static void pod(json::Ref pod);

 private:
  std::vector<std::string> known_;  // the longest first
};

// Whether a name is one that secrets have: "DB_PASSWORD", "apiToken".
bool secret_name(std::string_view name);

}  // namespace limpet::cli
