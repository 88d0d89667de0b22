#include "loop/place.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace limpet::loop {
namespace {

Place place_of_ipv4(uint32_t address) {
  if (address >> 24 == 127 || address >> 24 == 0) return Place::device;
  return address >> 16 == 0xa9fe ? Place::link : Place::elsewhere;
}

Place place_of_ipv6(const in6_addr& address) {
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    in_addr v4{};
    memcpy(&v4, address.s6_addr + 12, sizeof v4);
    return place_of_ipv4(ntohl(v4.s_addr));
  }
  if (IN6_IS_ADDR_LINKLOCAL(&address)) return Place::link;
  return IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_UNSPECIFIED(&address) ? Place::device
                                                                             : Place::elsewhere;
}

}  // namespace

Place place_of(const sockaddr& address) {
  if (address.sa_family == AF_INET)
    return place_of_ipv4(ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr));
  if (address.sa_family == AF_INET6)
    return place_of_ipv6(reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return Place::elsewhere;
}

Place place_of(std::string host) {
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  if (host.ends_with('.')) host.pop_back();  // of a name that is written in full
  in_addr v4{};
  // The way that the resolver reads: 2852039166 and 0xa9.254.43518 are addresses, too.
  if (inet_aton(host.c_str(), &v4) != 0) return place_of_ipv4(ntohl(v4.s_addr));
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &v6) == 1) return place_of_ipv6(v6);
  return host == "localhost" || host.ends_with(".localhost") ? Place::device : Place::elsewhere;
}

const char* place_name(Place place) {
  if (place == Place::elsewhere) return "elsewhere";
  return place == Place::link ? "the device's own link" : "the device itself";
}

bool within(Reach reach, Place place) {
  if (place == Place::link) return reach == Reach::anywhere;
  return place == Place::elsewhere || reach != Reach::off_device;
}

}  // namespace limpet::loop
