#include "peer/check.h"

#include "base/bytes.h"
#include "peer/text.h"

namespace limpet::peer {
namespace {

Refusal no(Reason reason, std::string text) { return {reason, std::move(text)}; }

// Enough of a cluster id to tell two apart.
std::string short_id(std::string_view cluster) { return hex(cluster.substr(0, 4)); }

std::optional<Refusal> check_certificate(const Hello& hello, const pki::Certificate& certificate) {
  const std::string& subject = certificate.subject.common_name;
  if (!subject.starts_with(pki::node_user_prefix) || !certificate.subject.in(pki::nodes_group)) {
    return no(Reason::certificate,
              strf("the certificate of '%s' is not one of a device", printable(subject).c_str()));
  }
  const std::string device = printable(subject.substr(pki::node_user_prefix.size()));
  if (device != hello.about.name) {
    return no(Reason::name, strf("the certificate is for device %s, the hello says %s", device.c_str(),
                                 hello.about.name.c_str()));
  }
  if (between_servers(hello.kind) && !certificate.subject.in(pki::servers_group)) {
    return no(Reason::not_a_server,
              strf("device %s has the certificate of an agent; connections of kind %s are for servers",
                   device.c_str(), kind_name(hello.kind)));
  }
  return std::nullopt;
}

std::optional<Refusal> check_member(const Local& local, const Directory& directory, const Hello& hello) {
  const About& about = hello.about;
  if (about.member == 0) {
    if (hello.kind != Kind::raft) return std::nullopt;
    return no(Reason::malformed, "a raft connection needs the id of a member");
  }
  if (about.member == local.self) {
    return no(Reason::my_own_id,
              strf("device %s has the member id of device %s (%s): one of the two runs on a copy of the "
                   "other's store; remove the copy and join anew",
                   about.name.c_str(), local.name.c_str(), hex64(about.member).c_str()));
  }
  const std::string known = directory.name_of(about.member);
  if (!known.empty() && known != about.name) {
    return no(Reason::name, strf("member %s is device %s, not %s", hex64(about.member).c_str(), known.c_str(),
                                 about.name.c_str()));
  }
  return std::nullopt;
}

}  // namespace

Result<> check_server(const std::string& device, const pki::Certificate& certificate) {
  const std::string& subject = certificate.subject.common_name;
  if (subject == std::string(pki::node_user_prefix) + device && certificate.subject.in(pki::servers_group))
    return {};
  return fail(
      Errc::unauthenticated,
      strf("it showed the certificate of '%s'%s, not that of the server %s", printable(subject).c_str(),
           certificate.subject.in(pki::servers_group) ? "" : " (no server)", device.c_str()));
}

Refusal distrusted(const std::string& device) {
  return no(
      Reason::certificate,
      strf("the certificate of device %s is of an authority that is not trusted any more", device.c_str()));
}

std::optional<Refusal> check(const Local& local, const Directory& directory, const Hello& hello,
                             const pki::Certificate& certificate) {
  if (hello.cluster != local.cluster) {
    return no(Reason::cluster,
              strf("device %s is of cluster %s, this one (%s) of cluster %s", hello.about.name.c_str(),
                   short_id(hello.cluster).c_str(), local.name.c_str(), short_id(local.cluster).c_str()));
  }
  if (auto refused = check_certificate(hello, certificate)) return refused;
  if (hello.wanted != 0 && hello.wanted != local.self) {
    return no(Reason::not_me, strf("device %s is member %s now, not %s", local.name.c_str(),
                                   hex64(local.self).c_str(), hex64(hello.wanted).c_str()));
  }
  return check_member(local, directory, hello);
}

}  // namespace limpet::peer
