// How a certificate says which device it belongs to, and whether that is a server: the one place where the
// names of device certificates are made and read.
//
// The subject of a device certificate is what Kubernetes gives a kubelet, so that the same certificate is the
// node's user at the API (https://kubernetes.io/docs/reference/access-authn-authz/node/): CN
// system:node:NAME, O system:nodes, and for servers O limpet:servers. A server's is for both sides of a
// connection, with the DNS names NAME and NAME.servers.limpet: whoever dials a server checks that one, beside
// the subject. Nobody dials an agent; its certificate is a client's and has no DNS name, so that nothing that
// a server is dialled by can be had with a token for agents.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "pki/certificate.h"

namespace limpet::pki {

constexpr std::string_view node_user_prefix = "system:node:";
constexpr std::string_view nodes_group = "system:nodes";
constexpr std::string_view servers_group = "limpet:servers";

struct DeviceId {
  std::string name;  // of the node
  bool server = false;
  bool operator==(const DeviceId&) const = default;
};

// A DNS subdomain (RFC 1123, lower case) of at most 63 characters: the name is also the value of the label
// kubernetes.io/hostname. None that ends as server_dns_name() does. The error says what is wrong.
Result<> check_node_name(std::string_view name);

std::string server_dns_name(std::string_view node_name);
Subject device_subject(const DeviceId& device);
Names device_names(const DeviceId& device);
Use device_use(const DeviceId& device);

// Whose certificate it is; `unauthenticated` when it is no device's. Whether it is signed by anybody is not
// looked at.
Result<DeviceId> device_of(const Certificate& certificate);

}  // namespace limpet::pki
