#include "pki/device.h"

#include <algorithm>

namespace limpet::pki {

namespace {

constexpr size_t max_node_name = 63;
constexpr std::string_view servers_domain = ".servers.limpet";

bool has(const std::vector<std::string>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

bool letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool valid_label(std::string_view s) {
  return !s.empty() && letter_or_digit(s.front()) && letter_or_digit(s.back()) &&
         std::all_of(s.begin(), s.end(), [](char c) { return letter_or_digit(c) || c == '-'; });
}

}  // namespace

Result<> check_node_name(std::string_view name) {
  if (name.empty()) return fail(Errc::invalid_argument, "the name of the device is empty");
  if (name.size() > max_node_name) {
    return fail(Errc::invalid_argument,
                strf("the name of the device has %zu characters: at most %zu are possible", name.size(),
                     max_node_name));
  }
  // Whoever had such a name would have the name that another one's server certificate is known by.
  if (name.ends_with(servers_domain)) {
    return fail(Errc::invalid_argument, "the name of the device must not end in " +
                                            std::string(servers_domain) +
                                            ", which the certificates of servers have");
  }
  for (std::string_view rest = name;;) {
    const size_t dot = rest.find('.');
    if (!valid_label(rest.substr(0, dot))) break;
    if (dot == std::string_view::npos) return {};
    rest.remove_prefix(dot + 1);
  }
  return fail(
      Errc::invalid_argument,
      "the name of the device must be lower-case letters, digits, '-' and '.', each part between dots "
      "beginning and ending with a letter or digit");
}

std::string server_dns_name(std::string_view node_name) {
  return std::string(node_name) + std::string(servers_domain);
}

Subject device_subject(const DeviceId& device) {
  Subject out{std::string(node_user_prefix) + device.name, {std::string(nodes_group)}};
  if (device.server) out.organizations.emplace_back(servers_group);
  return out;
}

Names device_names(const DeviceId& device) {
  if (!device.server) return {};
  return {{device.name, server_dns_name(device.name)}, {}};
}

Use device_use(const DeviceId& device) { return device.server ? Use::peer : Use::client; }

Result<DeviceId> device_of(const Certificate& certificate) {
  const std::string& user = certificate.subject.common_name;
  DeviceId out;
  if (user.starts_with(node_user_prefix)) out.name = user.substr(node_user_prefix.size());
  out.server = certificate.subject.in(servers_group);
  if (!check_node_name(out.name) || !certificate.subject.in(nodes_group) ||
      (out.server && !has(certificate.names.dns, server_dns_name(out.name)))) {
    return fail(Errc::unauthenticated, "the certificate of " + user + " is not a device certificate");
  }
  return out;
}

}  // namespace limpet::pki
