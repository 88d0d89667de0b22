#include "net/nft_table.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/sha256.h"

namespace limpet::net {

namespace {

// The attribute that names the table has this number in messages about tables, chains, rules, sets, elements
// and objects alike.
constexpr uint16_t kTableName = NFTA_TABLE_NAME;
static_assert(kTableName == NFTA_CHAIN_TABLE && kTableName == NFTA_RULE_TABLE &&
              kTableName == NFTA_SET_TABLE && kTableName == NFTA_SET_ELEM_LIST_TABLE &&
              kTableName == NFTA_OBJ_TABLE);

constexpr uint16_t message_type(int what) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | what); }

NetlinkMessage question(int what, uint16_t flags) {
  NetlinkMessage m(message_type(what), static_cast<uint16_t>(NLM_F_REQUEST | flags));
  nfgenmsg h{};
  h.nfgen_family = NFPROTO_IPV4;
  h.version = NFNETLINK_V0;
  return std::move(m.header(h));
}

// What follows the header, which carries the number of the last change to anything and is left out.
std::string_view attributes(std::string_view payload) {
  return payload.size() < sizeof(nfgenmsg) ? std::string_view() : payload.substr(sizeof(nfgenmsg));
}

std::string table_of(std::string_view payload) {
  std::string name;
  each_attribute(attributes(payload), [&](uint16_t type, std::string_view data) {
    if (type == kTableName) name = std::string(data.substr(0, data.find('\0')));
  });
  return name;
}

// The elements in an order of their own: that of the kernel's hash table may change by itself.
Result<> read_elements(NetlinkSocket& socket, const std::string& table, const std::string& map,
                       std::vector<std::string>* out) {
  NetlinkMessage m = question(NFT_MSG_GETSETELEM, NLM_F_DUMP);
  m.attr_string(NFTA_SET_ELEM_LIST_TABLE, table).attr_string(NFTA_SET_ELEM_LIST_SET, map);
  const size_t begin = out->size();
  CHECK_OK(socket.query(m, "read the elements of " + map, [&](uint16_t, std::string_view payload) {
    each_attribute(attributes(payload), [&](uint16_t type, std::string_view list) {
      if (type != NFTA_SET_ELEM_LIST_ELEMENTS) return;
      each_attribute(list, [&](uint16_t, std::string_view element) { out->push_back(std::string(element)); });
    });
  }));
  std::sort(out->begin() + static_cast<ptrdiff_t>(begin), out->end());
  return {};
}

Result<std::vector<std::string>> read_table(NetlinkSocket& socket, const std::string& table,
                                            const std::vector<std::string>& maps) {
  std::vector<std::string> parts;
  const auto keep = [&](uint16_t, std::string_view payload) {
    if (table_of(payload) == table) parts.emplace_back(attributes(payload));
  };
  NetlinkMessage head = question(NFT_MSG_GETTABLE, NLM_F_ACK);
  head.attr_string(kTableName, table);
  CHECK_OK(socket.query(head, "read table " + table, keep));
  for (const int what : {NFT_MSG_GETCHAIN, NFT_MSG_GETRULE}) {
    NetlinkMessage m = question(what, NLM_F_DUMP);
    if (what == NFT_MSG_GETRULE) m.attr_string(kTableName, table);
    CHECK_OK(socket.query(m, "read table " + table, keep));
  }
  for (const std::string& map : maps) CHECK_OK(read_elements(socket, table, map, &parts));
  return parts;
}

}  // namespace

Result<std::string> table_fingerprint(NetlinkSocket& socket, const std::string& table,
                                      const std::vector<std::string>& maps) {
  auto parts = read_table(socket, table, maps);
  if (!parts && parts.error().sys_errno == ENOENT) return std::string();
  if (!parts) return std::unexpected(std::move(parts).error());
  std::string all;
  for (const std::string& part : *parts) all += std::to_string(part.size()) + ":" + part;
  return sha256_hex(all);
}

Result<uint32_t> nft_generation(NetlinkSocket& socket) {
  NetlinkMessage m = question(NFT_MSG_GETGEN, NLM_F_ACK);
  uint32_t raw = 0;
  CHECK_OK(socket.query(m, "read the generation of nftables", [&](uint16_t, std::string_view payload) {
    each_attribute(attributes(payload), [&](uint16_t type, std::string_view data) {
      if (type == NFTA_GEN_ID && data.size() == sizeof raw) memcpy(&raw, data.data(), sizeof raw);
    });
  }));
  return ntohl(raw);
}

bool concerns_table(uint16_t type, std::string_view payload, const std::string& table) {
  return type >> 8 == NFNL_SUBSYS_NFTABLES && type != message_type(NFT_MSG_NEWGEN) &&
         table_of(payload) == table;
}

}  // namespace limpet::net
