#include "pki/names.h"

#include <arpa/inet.h>

#include <algorithm>

#include "pki/der.h"
#include "pki/oids.h"

namespace limpet::pki {

namespace {

constexpr size_t max_part = 256;  // bytes of one attribute or name; Kubernetes names are at most 253
constexpr size_t max_names = 256;

bool plain(std::string_view s) {
  return std::none_of(s.begin(), s.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// Host names as certificates carry them: letters, digits, '-', '_' and dots; "*." in front at most.
bool valid_dns_name(std::string_view s) {
  if (s.starts_with("*.")) s.remove_prefix(2);
  if (s.empty() || s.size() > 253 || s.front() == '.' || s.find("..") != std::string_view::npos) return false;
  return std::all_of(s.begin(), s.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

Result<std::string> encode_attribute(std::string_view oid, std::string_view value) {
  if (value.empty() || value.size() > max_part || !plain(value)) {
    return fail(Errc::invalid_argument, "subject: empty, over-long or unprintable name");
  }
  return der::of(der::set,
                 der::of(der::sequence, der::tlv(der::oid, oid), der::tlv(der::utf8_string, value)));
}

}  // namespace

std::string ip_to_bytes(const std::string& text) {
  char buffer[16];
  if (inet_pton(AF_INET, text.c_str(), buffer) == 1) return std::string(buffer, 4);
  if (inet_pton(AF_INET6, text.c_str(), buffer) == 1) return std::string(buffer, 16);
  return {};
}

std::string ip_to_text(std::string_view bytes) {
  char text[INET6_ADDRSTRLEN];
  int family = bytes.size() == 4 ? AF_INET : AF_INET6;
  if (bytes.size() != 4 && bytes.size() != 16) return {};
  return inet_ntop(family, bytes.data(), text, sizeof text) != nullptr ? text : "";
}

Result<std::string> encode_subject(const Subject& subject) {
  std::string parts;
  for (const std::string& o : subject.organizations) {
    TRY(std::string rdn, encode_attribute(oids::organization, o));
    parts += rdn;
  }
  if (!subject.common_name.empty()) {
    TRY(std::string rdn, encode_attribute(oids::common_name, subject.common_name));
    parts += rdn;
  }
  return der::tlv(der::sequence, parts);
}

Result<Subject> decode_subject(std::string_view name_der) {
  auto malformed = [] { return fail(Errc::invalid_argument, "malformed subject or issuer"); };
  Subject out;
  der::Reader outer(name_der);
  auto name = outer.next(der::sequence);
  if (!name) return malformed();
  for (der::Reader sets(name->content); !sets.at_end();) {
    auto rdn = sets.next(der::set);
    if (!rdn) return malformed();
    for (der::Reader attributes(rdn->content); !attributes.at_end();) {
      auto attribute = attributes.next(der::sequence);
      if (!attribute) return malformed();
      der::Reader fields(attribute->content);
      auto type = fields.next(der::oid);
      auto value = fields.next();
      if (!type || !value) return malformed();
      bool is_name = type->content == oids::common_name;
      if (!is_name && type->content != oids::organization) continue;
      // An identity with a NUL or an escape sequence in it is an attempt to be taken for another one.
      if (!plain(value->content) || value->content.size() > max_part) {
        return fail(Errc::invalid_argument, "unprintable or over-long name in subject or issuer");
      }
      if (is_name) {
        out.common_name = value->content;  // the last one, the most specific
      } else {
        out.organizations.emplace_back(value->content);
      }
    }
  }
  return out;
}

Result<std::string> encode_alt_names(const Names& names) {
  std::string parts;
  for (const std::string& name : names.dns) {
    if (!valid_dns_name(name)) return fail(Errc::invalid_argument, "not a host name: " + name);
    parts += der::tlv(der::context(2), name);
  }
  for (const std::string& ip : names.ips) {
    std::string bytes = ip_to_bytes(ip);
    if (bytes.empty()) return fail(Errc::invalid_argument, "not an IP address: " + ip);
    parts += der::tlv(der::context(7), bytes);
  }
  return der::tlv(der::sequence, parts);
}

Result<Names> decode_alt_names(std::string_view bytes) {
  auto malformed = [] { return fail(Errc::invalid_argument, "malformed subjectAltName"); };
  Names out;
  der::Reader outer(bytes);
  auto list = outer.next(der::sequence);
  if (!list) return malformed();
  for (der::Reader names(list->content); !names.at_end();) {
    auto name = names.next();
    if (!name) return malformed();
    if (out.dns.size() + out.ips.size() >= max_names)
      return fail(Errc::too_large, "too many alternative names");
    if (name->tag == der::context(2)) {
      if (!plain(name->content) || name->content.size() > max_part) return malformed();
      out.dns.emplace_back(name->content);
    } else if (name->tag == der::context(7)) {
      std::string text = ip_to_text(name->content);
      if (text.empty()) return malformed();
      out.ips.push_back(std::move(text));
    }
  }
  return out;
}

std::string_view find_extension(std::string_view extensions_der, std::string_view oid) {
  der::Reader outer(extensions_der);
  auto list = outer.next(der::sequence);
  if (!list) return {};
  der::Reader extensions(list->content);
  while (auto extension = extensions.next(der::sequence)) {
    der::Reader fields(extension->content);
    auto id = fields.next(der::oid);
    if (!id) return {};
    if (id->content != oid) continue;
    fields.next(der::boolean);  // critical, when it stands there
    auto value = fields.next(der::octet_string);
    return value ? value->content : std::string_view();
  }
  return {};
}

}  // namespace limpet::pki
