// Takes secrets out of text that leaves the device. Pure.
//
// Two ways, both over everything: values that are known to be secret (data of Secret objects, registry
// passwords) wherever they stand, also in base64; and what looks like one whoever wrote it: private keys,
// JWTs, "Bearer" and "Basic" credentials, passwords in URLs, values of keys and flags whose name ends in
// password, token, secret, key and the like, and flags of one letter of programs that take a secret there
// (scrub_flags.h). Rather too much than too little: a value without quotes goes to
// the end of its line.
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
  // A document of JSON as lines of text; the tree is changed. Beside what text() finds in each string:
  // members with such names, the value of an object whose name is one (variables, headers), what follows such
  // a flag in a list (arguments), and the annotation and fields that repeat a whole object.
  std::string document(json::Ref value) const;

 private:
  void tree(json::Ref node) const;
  void list(json::Ref node) const;

  std::vector<std::string> known_;  // the longest first
};

// Whether a name is one that secrets have: "DB_PASSWORD", "apiToken".
bool secret_name(std::string_view name);

}  // namespace limpet::cli
