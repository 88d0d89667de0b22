// A table of nftables as the kernel has it: read by netlink, since that costs a few system calls and the
// program nft some milliseconds and megabytes. Source: linux/netfilter/nf_tables.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/netlink_socket.h"

namespace limpet::net {

// Equal as long as nobody changed the table, its chains, its rules or the elements of the maps named; empty
// when there is no such table. Differs after each replacement of the table, since handles do. The socket is
// one of NETLINK_NETFILTER. Blocking for a moment.
Result<std::string> table_fingerprint(NetlinkSocket& socket, const std::string& table,
                                      const std::vector<std::string>& maps);

// The number of the last change that anybody made to anything in nftables: each transaction adds one.
Result<uint32_t> nft_generation(NetlinkSocket& socket);

// Whether a notification of nftables speaks of the table.
bool concerns_table(uint16_t type, std::string_view payload, const std::string& table);

}  // namespace limpet::net
