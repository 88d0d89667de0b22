#include "pki/install.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/failpoint.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "pki/certificate.h"
#include "pki/device.h"
#include "pki/files.h"

namespace limpet::pki {

namespace {

using Authorities = std::vector<Certificate>;

std::string staging(const std::string& directory) { return directory + ".joining"; }

std::unexpected<Error> unfit(const std::string& why) {
  return fail(Errc::invalid_argument, "what the cluster sent does not fit together: " + why);
}

Result<> sync_directory(const std::string& path) {
  UniqueFd dir(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_errno(errno, "open " + path);
  if (fsync(dir.get()) != 0) return fail_errno(errno, "fsync " + path);
  return {};
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

const Certificate* with_key(const Authorities& list, std::string_view spki) {
  const auto it =
      std::find_if(list.begin(), list.end(), [&](const Certificate& c) { return c.spki == spki; });
  return it == list.end() ? nullptr : &*it;
}

bool is_signed_by_one_of(const Certificate& certificate, const Authorities& list) {
  return std::any_of(list.begin(), list.end(), [&](const Certificate& ca) {
    return verify_signed_by(certificate, ca, {certificate.not_before, 0}).has_value();
  });
}

std::string bundle(const Authorities& list) {
  std::string out;
  for (const Certificate& one : list) out += to_pem(one.der, "CERTIFICATE");
  return out;
}

// Only authorities, and the key (where there is one) is that of the first.
Result<Authorities> check_authorities(std::string_view ca_pem, const std::string& ca_key_pem,
                                      Random& random) {
  Result<Authorities> list = parse_bundle(ca_pem);
  if (!list) return unfit(list.error().message);
  for (const Certificate& one : *list) {
    if (!one.is_ca) return unfit("the certificate of " + one.subject.common_name + " is not an authority's");
  }
  if (ca_key_pem.empty()) return list;
  Result<PrivateKey> key = PrivateKey::from_pem(ca_key_pem, random);
  if (!key) return unfit("the authority's key: " + key.error().message);
  if (key->spki() != list->front().spki) return unfit("the authority's key is not that of its certificate");
  return list;
}

Result<Authorities> authorities_in(const std::string& directory) {
  TRY(const std::string pem, read_if_there(directory + "/ca.crt"));
  if (pem.empty()) return Authorities();
  Result<Authorities> list = parse_bundle(pem);
  if (!list) return fail(Errc::corrupt, directory + "/ca.crt: " + list.error().message);
  return list;
}

// Of two certificates of one authority the one that lasts longer (they differ where devices renewed it).
void keep_longer(Authorities& wanted, const Authorities& have) {
  for (Certificate& one : wanted) {
    const Certificate* old = with_key(have, one.spki);
    if (old != nullptr && old->not_after >= one.not_after && old->subject_der == one.subject_der) one = *old;
  }
}

Result<bool> put_if_other(const std::string& path, std::string_view bytes, std::string_view failpoint) {
  TRY(const std::string have, read_if_there(path));
  if (have == bytes) return false;
  CHECK_OK(write_file_atomic(path, bytes, 0600, failpoint));
  return true;
}

Authorities united(const Authorities& wanted, const Authorities& have) {
  Authorities both = wanted;
  for (const Certificate& one : have) {
    if (with_key(wanted, one.spki) == nullptr) both.push_back(one);
  }
  return both;
}

// What is trusted grows, then the key changes, then the rest goes: at each cut the key is one of ca.crt's.
Result<bool> replace_authority(const std::string& directory, const Authorities& have,
                               const Authorities& wanted, const std::string& ca_key_pem) {
  const std::string crt = directory + "/ca.crt", key = directory + "/ca.key";
  bool key_changes = false;
  if (!ca_key_pem.empty()) {
    TRY(const std::string old_key, read_if_there(key));
    key_changes = old_key != ca_key_pem;
  }
  if (!key_changes) return put_if_other(crt, bundle(wanted), "pki.install_ca.write");
  CHECK_OK(put_if_other(crt, bundle(united(wanted, have)), "pki.install_both.write"));
  CHECK_OK(write_file_atomic(key, ca_key_pem, 0600, "pki.install_ca_key.write"));
  CHECK_OK(put_if_other(crt, bundle(wanted), "pki.install_ca.write"));
  return true;
}

struct Checked {
  Authorities authorities;
  std::string device_spki;
};

Result<Checked> check_joined(const Joined& joined, Random& random) {
  Checked out;
  TRY(out.authorities, check_authorities(joined.ca_pem, joined.ca_key_pem, random));
  Result<Certificate> device = parse_certificate(joined.device_pem);
  if (!device) return unfit("the device certificate: " + device.error().message);
  Result<DeviceId> id = device_of(*device);
  if (!id) return unfit(id.error().message);
  if (!is_signed_by_one_of(*device, out.authorities))
    return unfit("the device certificate is of another authority");
  if (id->server == joined.ca_key_pem.empty() || id->server == joined.service_account_key_pem.empty())
    return unfit(id->server ? "a server gets the cluster's keys, and one is missing"
                            : "an agent gets no keys");
  if (id->server) {
    Result<PrivateKey> key = PrivateKey::from_pem(joined.service_account_key_pem, random);
    if (!key) return unfit("the service account key: " + key.error().message);
  }
  out.device_spki = device->spki;
  return out;
}

Result<> check_own_key(const std::string& directory, std::string_view spki, Random& random) {
  TRY(const std::string pem, read_if_there(directory + "/node.key"));
  Result<PrivateKey> key = PrivateKey::from_pem(pem, random);
  if (!key) return fail(Errc::corrupt, directory + "/node.key: " + key.error().message);
  if (key->spki() != spki) return unfit("the device certificate is for another key than this device's");
  return {};
}

// The first certificate of this cluster here; the device's key is in the directory already.
Result<> install_fresh(const std::string& directory, const Joined& joined, const Checked& checked) {
  const std::string stage = staging(directory);
  CHECK_OK(write_file_atomic(stage + "/ca.crt", bundle(checked.authorities), 0600, "pki.join_ca.write"));
  if (!joined.ca_key_pem.empty()) {
    CHECK_OK(write_file_atomic(stage + "/ca.key", joined.ca_key_pem, 0600, "pki.join_ca_key.write"));
    CHECK_OK(
        write_file_atomic(stage + "/sa.key", joined.service_account_key_pem, 0600, "pki.join_sa_key.write"));
  }
  CHECK_OK(write_file_atomic(stage + "/node.crt", joined.device_pem, 0600, "pki.join_device.write"));
  if (LIMPET_FAILPOINT("pki.join.rename")) return fail(Errc::io, "rename " + stage + ": failpoint");
  // Takes the place of an empty directory too, never of one in which something is.
  if (rename(stage.c_str(), directory.c_str()) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST) {
      return fail(Errc::conflict, directory +
                                      " holds something already that is no identity of this cluster: "
                                      "remove it to join");
    }
    return fail_errno(errno, "rename " + stage + " to " + directory);
  }
  if (LIMPET_FAILPOINT("pki.join.synced")) return fail(Errc::io, "sync " + directory + ": failpoint");
  return sync_directory(parent_of(directory));
}

Result<> install_again(const std::string& directory, const Joined& joined, Checked checked,
                       const Authorities& have) {
  keep_longer(checked.authorities, have);
  CHECK_OK(replace_authority(directory, have, checked.authorities, joined.ca_key_pem));
  if (!joined.service_account_key_pem.empty()) {
    CHECK_OK(put_if_other(directory + "/sa.key", joined.service_account_key_pem, "pki.join_sa_key.write"));
  }
  CHECK_OK(put_if_other(directory + "/node.crt", joined.device_pem, "pki.join_device.write"));
  return {};
}

// Nothing is lost with a key that cannot be read: the device is then another one.
Result<PrivateKey> former_key(const std::string& former, Random& random) {
  if (!former.empty()) {
    TRY(const std::string pem, read_if_there(former + "/node.key"));
    if (Result<PrivateKey> key = PrivateKey::from_pem(pem, random)) return key;
  }
  return PrivateKey::generate(random);
}

// An agent's certificate had its name as a DNS name once, and has none now (device.h): either will do.
Result<> check_same_device(const Certificate& old, const Certificate& renewed) {
  TRY(const DeviceId id, device_of(old));
  const bool named_otherwise = std::any_of(renewed.names.dns.begin(), renewed.names.dns.end(),
                                           [&](const std::string& name) { return name != id.name; });
  if (id.server || old.subject != renewed.subject || named_otherwise || !renewed.names.ips.empty())
    return unfit("the device certificate is for another device");
  return {};
}

Result<> check_same_cluster(const std::string& directory, const Authorities& have,
                            const Authorities& wanted) {
  for (const Certificate& one : have) {
    if (with_key(wanted, one.spki) != nullptr) return {};
  }
  return fail(Errc::conflict, "this device belongs to another cluster (" + have.front().subject.common_name +
                                  ", in " + directory + "), not to that of " +
                                  wanted.front().subject.common_name + ": remove its data to let it join");
}

}  // namespace

Result<PrivateKey> joining_key(const std::string& directory, Random& random, const std::string& former) {
  TRY(const Authorities have, authorities_in(directory));
  const std::string place = have.empty() ? staging(directory) : directory;
  TRY(const std::string old_pem, read_if_there(place + "/node.key"));
  if (Result<PrivateKey> kept = PrivateKey::from_pem(old_pem, random)) return kept;
  TRY(PrivateKey key, former_key(former, random));
  TRY(const std::string pem, key.to_pem());
  CHECK_OK(make_directories(place, 0700));
  remove_temporaries(place);
  CHECK_OK(write_file_atomic(place + "/node.key", pem, 0600, "pki.join_key.write"));
  CHECK_OK(sync_directory(parent_of(place)));
  return key;
}

Result<> install_joined(const std::string& directory, const Joined& joined, Random& random) {
  TRY(Checked checked, check_joined(joined, random));
  TRY(const Authorities have, authorities_in(directory));
  if (!have.empty()) CHECK_OK(check_same_cluster(directory, have, checked.authorities));
  const std::string place = have.empty() ? staging(directory) : directory;
  CHECK_OK(check_own_key(place, checked.device_spki, random));
  remove_temporaries(place);
  return have.empty() ? install_fresh(directory, joined, checked)
                      : install_again(directory, joined, std::move(checked), have);
}

Result<> install_renewed(const std::string& directory, std::string_view ca_pem, std::string_view device_pem,
                         Random& random) {
  TRY(Authorities wanted, check_authorities(ca_pem, "", random));
  TRY(const Authorities have, authorities_in(directory));
  if (have.empty()) return fail(Errc::not_found, directory + " has no authority: the device has not joined");
  CHECK_OK(check_same_cluster(directory, have, wanted));
  TRY(const std::string old_pem, read_if_there(directory + "/node.crt"));
  const Result<Certificate> old = parse_certificate(old_pem);
  const Result<Certificate> device = device_pem.empty() ? old : parse_certificate(device_pem);
  if (!device) return unfit("the device certificate: " + device.error().message);
  if (!is_signed_by_one_of(*device, wanted)) return unfit("the device certificate is of another authority");
  CHECK_OK(check_own_key(directory, device->spki, random));
  if (old) CHECK_OK(check_same_device(*old, *device));
  keep_longer(wanted, have);
  const std::string crt = directory + "/ca.crt";
  if (!device_pem.empty()) {
    CHECK_OK(put_if_other(crt, bundle(united(wanted, have)), "pki.install_both.write"));
    CHECK_OK(put_if_other(directory + "/node.crt", device_pem, "pki.install_device.write"));
  }
  CHECK_OK(put_if_other(crt, bundle(wanted), "pki.install_ca.write"));
  return {};
}

Result<bool> install_authority(const std::string& directory, std::string_view ca_pem,
                               const std::string& ca_key_pem, Random& random) {
  TRY(Authorities wanted, check_authorities(ca_pem, ca_key_pem, random));
  TRY(const Authorities have, authorities_in(directory));
  if (have.empty()) return fail(Errc::not_found, directory + " has no authority that could be replaced");
  CHECK_OK(check_same_cluster(directory, have, wanted));
  keep_longer(wanted, have);
  return replace_authority(directory, have, wanted, ca_key_pem);
}

Result<bool> install_service_account_key(const std::string& directory, const std::string& key_pem,
                                         Random& random) {
  Result<PrivateKey> key = PrivateKey::from_pem(key_pem, random);
  if (!key) return unfit("the service account key: " + key.error().message);
  return put_if_other(directory + "/sa.key", key_pem, "pki.install_sa_key.write");
}

}  // namespace limpet::pki
