#include "net/leases.h"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/atomic_file.h"
#include "base/json.h"

namespace limpet::net {

namespace {

constexpr const char* kLast = "last";

Result<std::vector<std::string>> names_in(const std::string& dir) {
  DIR* d = opendir(dir.c_str());
  if (!d) return fail_errno(errno, "open " + dir);
  std::vector<std::string> names;
  while (const dirent* e = readdir(d)) {
    const std::string name = e->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(d);
  return names;
}

Result<Lease> read_lease(Ipv4 address, const std::string& text) {
  TRY(const json::Value tree, json::parse(text));
  const json::Ref root = tree;
  Lease lease{std::string(root["pod"].str()), {}};
  if (lease.pod_uid.empty()) return fail(Errc::corrupt, "a lease without a pod");
  for (const json::Ref p : root["ports"]) {
    lease.ports.push_back({std::string(p["protocol"].str()), std::string(p["hostIP"].str()),
                           static_cast<uint16_t>(p["hostPort"].integer()), address,
                           static_cast<uint16_t>(p["containerPort"].integer())});
  }
  return lease;
}

}  // namespace

Result<std::map<Ipv4, Lease>> load_leases(const std::string& dir, AddressPool* pool) {
  CHECK_OK(make_directories(dir, 0700));
  remove_temporaries(dir);
  TRY(const std::vector<std::string> names, names_in(dir));
  std::map<Ipv4, Lease> leases;
  for (const std::string& name : names) {
    const std::string path = dir + "/" + name;
    TRY(const std::string text, read_file(path, 64 << 10));
    if (name == kLast) {
      if (const auto last = parse_ipv4(text)) pool->set_last(*last);
      continue;
    }
    const auto address = parse_ipv4(name);
    auto lease = address ? read_lease(*address, text) : Result<Lease>(std::unexpected(address.error()));
    // What is no lease of this range (the range was changed, say) belongs to no pod that could come back.
    if (!lease || !pool->adopt(lease->pod_uid, *address)) {
      unlink(path.c_str());
      continue;
    }
    leases[*address] = std::move(*lease);
  }
  return leases;
}

Result<> write_lease(const std::string& dir, Ipv4 address, const Lease& lease) {
  json::Writer w;
  w.begin_object().field("pod", lease.pod_uid).key("ports").begin_array();
  for (const PortMapping& p : lease.ports) {
    w.begin_object().field("protocol", p.protocol).field("hostIP", p.host_ip);
    w.field("hostPort", static_cast<int>(p.host_port))
        .field("containerPort", static_cast<int>(p.pod_port))
        .end_object();
  }
  w.end_array().end_object();
  CHECK_OK(write_file_atomic(dir + "/" + address.text(), w.text(), 0600, "net.lease.write"));
  return write_file_atomic(dir + "/" + kLast, address.text(), 0600, "net.lease.last");
}

Result<> remove_lease(const std::string& dir, Ipv4 address) {
  const std::string path = dir + "/" + address.text();
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove " + path);
  return {};
}

Result<> remove_leases(const std::string& dir) {
  unlink((dir + "/" + kLast).c_str());
  if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove " + dir);
  return {};
}

}  // namespace limpet::net
