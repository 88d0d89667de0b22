// Where an address is, as seen from the device: on itself, on its link, or elsewhere; and how far a
// connection may go. For what others name: a redirect, a token server, a name that anybody may have pointed
// anywhere.
#pragma once

#include <string>

struct sockaddr;

namespace limpet::loop {

enum class Place {
  elsewhere,
  link,    // link-local, where clouds keep credentials (169.254.169.254)
  device,  // loopback and unspecified
};

Place place_of(const sockaddr& address);
// Of a host as it is written: an address in any form that the resolver reads, or a name of localhost. Other
// names are elsewhere, until they are resolved.
Place place_of(std::string host);
const char* place_name(Place place);  // "the device's own link"

// Where a connection may go.
enum class Reach { anywhere, off_link, off_device };  // off_device: off the link, too
bool within(Reach reach, Place place);

}  // namespace limpet::loop
