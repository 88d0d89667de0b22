#include "net/link.h"

#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <cstring>

using namespace limpet;
using namespace limpet::net;

namespace {

// A message as text: type, flags, then the attributes behind the fixed header, those that nest opened up.
std::string show(std::string_view attributes, int depth = 0) {
  std::string out;
  each_attribute(attributes, [&](uint16_t type, std::string_view data) {
    out += strf("%d(", type);
    const bool nest = (depth == 0 && type == IFLA_LINKINFO) || (depth == 1 && type == IFLA_INFO_DATA);
    if (nest) {
      out += show(data, depth + 1);
    } else if (depth == 2 && type == VETH_INFO_PEER) {
      out += "peer " + show(data.substr(sizeof(ifinfomsg)), 3);
    } else if (type == IFLA_ADDRESS && (depth == 0 || depth == 3)) {
      for (const char c : data) out += strf("%02x", static_cast<unsigned char>(c));
    } else if (data.size() == 4 &&
               data.find_first_of("abcdefghijklmnopqrstuvwxyz") == std::string_view::npos) {
      uint32_t v = 0;
      memcpy(&v, data.data(), 4);
      out += std::to_string(v);
    } else {
      out += std::string(data.substr(0, data.find('\0')));
    }
    out += ")";
  });
  return out;
}

std::string show(NetlinkMessage m, size_t fixed) {
  const std::string bytes = m.finish(7);
  nlmsghdr h{};
  memcpy(&h, bytes.data(), sizeof h);
  CHECK(h.nlmsg_len == bytes.size());
  CHECK(h.nlmsg_seq == 7);
  return strf("%d/%x ", h.nlmsg_type, h.nlmsg_flags) +
         show(std::string_view(bytes).substr(NLMSG_HDRLEN + fixed));
}

}  // namespace

TEST_CASE("requests as text") {
  CHECK(show(new_bridge("limpet0", 1450, {0x0a2a0001}), sizeof(ifinfomsg)) ==
        "16/605 3(limpet0)4(1450)1(0a580a2a0001)18(1(bridge))");
  CHECK(show(new_veth("veth1", "eth0", 9, 1500, {0x0a2a00ff}), sizeof(ifinfomsg)) ==
        "16/605 3(veth1)4(1500)18(1(veth)2(1(peer 3(eth0)1(0a580a2a00ff)4(1500)28(9))))");
  CHECK(show(delete_link("veth1"), sizeof(ifinfomsg)) == "17/5 3(veth1)");
  CHECK(show(set_link_master(4, 5), sizeof(ifinfomsg)) == "16/5 10(5)");
}

TEST_CASE("attributes of hostile bytes stop at the first that lies") {
  NetlinkMessage m(RTM_NEWLINK, 0);
  m.header(ifinfomsg{}).attr_string(IFLA_IFNAME, "good").attr_string(IFLA_IFNAME, "second");
  std::string bytes = m.finish(1).substr(NLMSG_HDRLEN + sizeof(ifinfomsg));
  for (uint16_t lie : {0, 1, 3, 200, 65535}) {
    std::string broken = bytes;
    memcpy(broken.data() + 12, &lie, sizeof lie);  // the length of the second attribute
    int n = 0;
    each_attribute(broken, [&](uint16_t, std::string_view) { n++; });
    CHECK(n == 1);
  }
  for (size_t cut = 0; cut < bytes.size(); cut++) {
    each_attribute(std::string_view(bytes).substr(0, cut), [&](uint16_t, std::string_view data) {
      CHECK(data.data() + data.size() <= bytes.data() + cut);
    });
  }
}
