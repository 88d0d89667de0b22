// How a certificate says which device it belongs to, and whether that is a server: the one place where the
// names of device certificates are made and read.
//
// A device certificate is for both sides of a connection (Use::peer). Its subject is what Kubernetes gives a
// kubelet, so that the same certificate is the node's user at the API
// (https://kubernetes.io/docs/reference/access-authn-authz/node/): CN system:node:NAME, O system:nodes, and
// for servers O limpet:servers. Its DNS names are NAME and, for servers, NAME.servers.limpet: whoever dials a
// server checks that one, which no agent's certificate has.
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
// kubernetes.io/hostname. The error says what is wrong.
Result<> check_node_name(std::string_view name);

std::string server_dns_name(std::string_view node_name);
Subject device_subject(const DeviceId& device);
Names device_names(const DeviceId& device);

// Whose certificate it is; `unauthenticated` when it is no device's. Whether it is signed by anybody is not
// looked at.
Result<DeviceId> device_of(const Certificate& certificate);

}  // namespace limpet::pki
