// Who we are to a registry: credentials from Docker's configuration format, and the challenges registries
// send.
//
// Sources: distribution token.md and oauth.md, RFC 9110 section 11.6.1, Kubernetes "Images"
// (imagePullSecrets, with its rules for globs and paths in the keys of `auths`). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/reference.h"

namespace limpet::image {

struct Credential {
  std::string user, password;
  std::string identity_token;  // OAuth2 refresh token, instead of the password
  bool operator==(const Credential&) const = default;
};

// All entries of a config.json ({"auths": {...}}) or of a legacy .dockercfg (the map itself) that fit the
// image, the most specific first. The error says what is wrong with the file, never what is in it.
Result<std::vector<Credential>> find_credentials(std::string_view docker_config, const Reference& image);

struct Challenge {
  std::string scheme;                                           // lower case: "bearer", "basic"
  std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case
  std::string_view get(std::string_view name) const;
};
// One WWW-Authenticate value may hold several challenges. What cannot be read is left out.
std::vector<Challenge> parse_challenges(std::string_view header);

std::string basic_authorization(const Credential& credential);

}  // namespace limpet::image
