#include "api/authn.h"

#include "api/remote_user.h"

namespace limpet::api {
namespace {

constexpr std::string_view kBearer = "bearer ";

void known(User& u) {
  if (!u.in("system:authenticated")) u.groups.emplace_back("system:authenticated");
}

bool starts_with_fold(std::string_view s, std::string_view lower) {
  if (s.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    char c = s[i] >= 'A' && s[i] <= 'Z' ? static_cast<char>(s[i] + 32) : s[i];
    if (c != lower[i]) return false;
  }
  return true;
}

User socket_user(const Options& o, const http::Peer& peer) {
  User u;
  if (peer.uid == 0) {
    u.name = "system:admin";
    u.groups = {std::string(kMastersGroup)};
  } else if ((o.reader_gid != ~0u && peer.gid == o.reader_gid) ||
             (o.is_reader && o.is_reader(peer.uid, peer.gid))) {
    u.name = "limpet:uid:" + std::to_string(peer.uid);
    u.groups = {std::string(kReadersGroup)};
  } else {
    u.name = "limpet:uid:" + std::to_string(peer.uid);
  }
  return u;
}

}  // namespace

Result<User> authenticate(const Options& o, const http::Request& request) {
  const http::Peer& peer = request.peer;
  if (peer.kind == http::Peer::Kind::forwarded) return read_remote_user(request.headers);
  std::string_view header = request.headers.get("Authorization");
  User u;
  if (starts_with_fold(header, kBearer)) {
    std::string_view token = header.substr(kBearer.size());
    while (!token.empty() && token.front() == ' ') token.remove_prefix(1);
    if (!o.identity.verify_token) return fail(Errc::unauthenticated, "tokens are not accepted here");
    TRY(TokenProof proof, o.identity.verify_token(token, {}));
    u = std::move(proof.user);
  } else if (!header.empty()) {
    return fail(Errc::unauthenticated, "unsupported kind of credentials");
  } else if (!peer.client_certificate_der.empty()) {
    if (!o.identity.read_certificate)
      return fail(Errc::unauthenticated, "certificates are not accepted here");
    TRY(u, o.identity.read_certificate(peer.client_certificate_der));
  } else if (peer.kind == http::Peer::Kind::unix_socket) {
    u = socket_user(o, peer);
  } else if (peer.kind == http::Peer::Kind::in_process) {
    u.name = peer.user;
    u.groups = peer.groups;
  } else {
    u.name = "system:anonymous";
    u.groups = {"system:unauthenticated"};
    return u;
  }
  if (u.name.empty()) return fail(Errc::unauthenticated, "the credentials name nobody");
  known(u);
  return u;
}

}  // namespace limpet::api
