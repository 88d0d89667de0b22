#include "pki/identity.h"

#include <algorithm>
#include <cerrno>

#include "base/atomic_file.h"
#include "base/bytes.h"
#include "base/json.h"
#include "pki/device.h"
#include "pki/files.h"
#include "pki/names.h"

namespace limpet::pki {

namespace {

// Sorted, without doubles, addresses in one spelling: equal sets compare equal.
Names normal(const Names& names) {
  Names out = names;
  for (std::string& ip : out.ips) {
    std::string bytes = ip_to_bytes(ip);
    if (!bytes.empty()) ip = ip_to_text(bytes);
  }
  for (auto* list : {&out.dns, &out.ips}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  return out;
}

// Nothing is wrong with what was to be written: there is no place for it now.
bool no_place(const Error& error) {
  return error.sys_errno == ENOSPC || error.sys_errno == EDQUOT || error.sys_errno == EROFS;
}

// A leaf with its key: what is on disk, what it should be, and how to make it anew.
struct Leaf {
  std::string name;  // of the files: serving, admin
  std::string what;  // for people
  Subject subject;
  Names names;
  Use use;
  std::string failpoint;
  bool keeps_key = false;  // a key that can be read is never replaced
};

class Maker {
 public:
  Maker(const IdentityOptions& options, const Moment& moment, Random& random)
      : options_(options), moment_(moment), random_(random) {}

  Result<Identity> run() {
    CHECK_OK(check_node_name(options_.node_name));
    CHECK_OK(make_directories(options_.directory, 0700));
    remove_temporaries(options_.directory);
    CHECK_OK(authority());
    CHECK_OK(service_account_key());
    Leaf serving{"serving",   "serving certificate", {"limpet", {}}, normal(options_.names),
                 Use::server, "pki.serving"};
    CHECK_OK(leaf(serving, out_.serving_pem, out_.serving_key_pem));
    Leaf admin{"admin", "admin certificate", {"limpet-admin", {"system:masters"}},
               {},      Use::client,         "pki.admin"};
    CHECK_OK(leaf(admin, out_.admin_pem, out_.admin_key_pem));
    CHECK_OK(device());
    CHECK_OK(kubeconfig());
    out_.serving_pem += ca_.certificate_pem;
    return std::move(out_);
  }

 private:
  std::string path(std::string_view name) const { return options_.directory + "/" + std::string(name); }
  void changed(std::string_view what, std::string_view why) {
    out_.changes.push_back({std::string(what), std::string(why)});
  }

  // False: there is no place for it now, and what is in memory must do.
  Result<bool> put(const std::string& path, const std::string& bytes, const std::string& failpoint);
  Result<bool> or_in_memory(Result<> written);
  Result<> authority();
  Result<> make_authority(const std::string& key_pem);
  Result<> renew_authority(const Certificate& have);
  void trust(std::vector<Certificate> trusted, size_t signer);
  bool signed_by_trusted(const Certificate& certificate) const;
  void renew_at(int64_t seconds) {
    if (out_.renew_at == 0 || seconds < out_.renew_at) out_.renew_at = seconds;
  }
  Result<> service_account_key();
  Result<> device();
  Result<> leaf(const Leaf& want, std::string& pem, std::string& key_pem);
  Result<std::string> key_for(const Leaf& want, std::string& key_pem);
  std::string why_not(const Leaf& want, const std::string& pem, const std::string& key_pem);
  Result<> kubeconfig();

  const IdentityOptions& options_;
  Moment moment_;
  Random& random_;
  Identity out_;
  Authority ca_;  // the one that signs
  Validity ca_validity_;
  std::vector<Certificate> trusted_;  // that one first
};

Result<bool> Maker::or_in_memory(Result<> written) {
  if (written) return true;
  if (!no_place(written.error())) return std::unexpected(std::move(written).error());
  if (out_.unwritten.empty()) out_.unwritten = written.error().message;
  return false;
}

Result<bool> Maker::put(const std::string& path, const std::string& bytes, const std::string& failpoint) {
  return or_in_memory(write_file_atomic(path, bytes, 0600, failpoint));
}

Result<> Maker::authority() {
  TRY(std::string key_pem, read_if_there(path("ca.key")));
  TRY(out_.ca_pem, read_if_there(path("ca.crt")));
  if (out_.ca_pem.empty()) return make_authority(key_pem);
  // From here on the authority exists, and every device and kubeconfig trusts it: damage is for a person to
  // mend.
  auto damaged = [this](const std::string& why) {
    return fail(Errc::corrupt,
                "the cluster's authority in " + options_.directory + " is damaged (" + why +
                    "): restore ca.key and ca.crt from a backup, or remove the directory to begin a new "
                    "cluster");
  };
  Result<std::vector<Certificate>> trusted = parse_bundle(out_.ca_pem);
  if (!trusted) return damaged("ca.crt: " + trusted.error().message);
  for (const Certificate& one : *trusted) {
    if (!one.is_ca) return damaged("ca.crt is not an authority");
  }
  // Without its key nothing new can be signed. What it signed before is good, and enough to run the device.
  auto keyless = [&](const std::string& why) -> Result<> {
    out_.damaged = damaged(why).error().message;
    trust(std::move(*trusted), 0);
    return {};
  };
  if (key_pem.empty()) return keyless("ca.key is missing");
  Result<PrivateKey> key = PrivateKey::from_pem(key_pem, random_);
  if (!key) return keyless("ca.key: " + key.error().message);
  auto signer = std::find_if(trusted->begin(), trusted->end(),
                             [&](const Certificate& one) { return one.spki == key->spki(); });
  if (signer == trusted->end()) return keyless("ca.key does not belong to ca.crt");
  const auto place = static_cast<size_t>(signer - trusted->begin());  // before the list is moved from
  trust(std::move(*trusted), place);
  ca_.key = std::move(*key);
  out_.ca_key_pem = std::move(key_pem);
  return renew_authority(trusted_.front());
}

// All of these are trusted, and that one signs.
void Maker::trust(std::vector<Certificate> trusted, size_t signer) {
  const auto first = trusted.begin();
  std::rotate(first, first + static_cast<ptrdiff_t>(signer), first + static_cast<ptrdiff_t>(signer) + 1);
  trusted_ = std::move(trusted);
  ca_validity_ = trusted_.front().validity();
  ca_.certificate_pem = to_pem(trusted_.front().der, "CERTIFICATE");
  out_.ca_pem.clear();
  for (const Certificate& one : trusted_) out_.ca_pem += to_pem(one.der, "CERTIFICATE");
}

bool Maker::signed_by_trusted(const Certificate& certificate) const {
  return std::any_of(trusted_.begin(), trusted_.end(), [&](const Certificate& one) {
    return verify_signed_by(certificate, one, {certificate.not_before, 0}).has_value();
  });
}

// One that another authority signed is not ours to renew: leaves end with it.
Result<> Maker::renew_authority(const Certificate& have) {
  if (have.issuer != have.subject) return {};
  const std::string why = authority_due(have.validity(), moment_);
  if (!why.empty()) {
    TRY(std::string pem, renew_ca(ca_, widened(have.validity(), moment_), random_));
    std::vector<Certificate> trusted = std::move(trusted_);
    TRY(trusted.front(), parse_certificate(pem));
    trust(std::move(trusted), 0);
    TRY(const bool written, put(path("ca.crt"), out_.ca_pem, "pki.ca_renew.write"));
    if (written) changed("ca", why);
  }
  renew_at(authority_renewal(ca_validity_));
  return {};
}

// First start, or one that was cut between key and certificate.
Result<> Maker::make_authority(const std::string& key_pem) {
  Result<PrivateKey> kept = PrivateKey::from_pem(key_pem, random_);
  if (kept) {
    ca_.key = std::move(*kept);
    out_.ca_key_pem = key_pem;
    changed("ca", "first start was cut short");
  } else {
    TRY(ca_.key, PrivateKey::generate(random_));
    TRY(out_.ca_key_pem, ca_.key.to_pem());
    CHECK_OK(write_file_atomic(path("ca.key"), out_.ca_key_pem, 0600, "pki.ca_key.write"));
    changed("ca", "first start");
  }
  // The name carries a random part: an authority of another cluster is another issuer, not a namesake.
  TRY(std::string pem,
      make_ca("limpet-ca-" + random_.suffix(8), ca_.key, authority_validity(moment_), random_));
  CHECK_OK(write_file_atomic(path("ca.crt"), pem, 0600, "pki.ca.write"));
  TRY(std::vector<Certificate> made, parse_bundle(pem));
  trust(std::move(made), 0);
  renew_at(authority_renewal(ca_validity_));
  return {};
}

Result<> Maker::service_account_key() {
  TRY(std::string pem, read_if_there(path("sa.key")));
  std::string why = "first start";
  if (!pem.empty()) {
    Result<PrivateKey> key = PrivateKey::from_pem(pem, random_);
    if (key) {
      out_.service_account_key_pem = std::move(pem);
      return {};
    }
    why = "sa.key was damaged (" + key.error().message + "); tokens issued before are no longer valid";
  }
  TRY(PrivateKey key, PrivateKey::generate(random_));
  TRY(out_.service_account_key_pem, key.to_pem());
  CHECK_OK(write_file_atomic(path("sa.key"), out_.service_account_key_pem, 0600, "pki.sa_key.write"));
  changed("service account key", why);
  return {};
}

// Why the leaf on disk will not do; empty when it will.
std::string Maker::why_not(const Leaf& want, const std::string& pem, const std::string& key_pem) {
  if (pem.empty()) return "first start";
  Result<Certificate> have = parse_certificate(pem);
  if (!have) return "the file was damaged";
  Result<PrivateKey> key = PrivateKey::from_pem(key_pem, random_);
  if (!key || key->spki() != have->spki) return "key and certificate did not belong together";
  if (!verify_signed_by(*have, trusted_.front(), {have->not_before, 0})) return "issued by another authority";
  Names names = normal(have->names);
  if (options_.anew) return "it was asked for";
  if (names.dns != want.names.dns || names.ips != want.names.ips) return "names changed";
  if (have->subject != want.subject) return "subject changed";
  return leaf_due(have->validity(), ca_validity_, moment_);
}

// The public half of the key that a new certificate is for; the key is made anew unless it stays.
Result<std::string> Maker::key_for(const Leaf& want, std::string& key_pem) {
  if (want.keeps_key) {
    Result<PrivateKey> kept = PrivateKey::from_pem(key_pem, random_);
    if (kept) return kept->spki();
  }
  TRY(PrivateKey key, PrivateKey::generate(random_));
  TRY(key_pem, key.to_pem());
  return key.spki();
}

Result<> Maker::leaf(const Leaf& want, std::string& pem, std::string& key_pem) {
  std::string key_path = path(want.name + ".key");
  std::string pem_path = path(want.name + ".crt");
  TRY(key_pem, read_if_there(key_path));
  TRY(pem, read_if_there(pem_path));
  const std::string key_on_disk = key_pem;
  std::string why = why_not(want, pem, key_pem);
  if (!out_.damaged.empty() && !why.empty()) {
    // Of other names or near its end it is better than none.
    Result<Certificate> have = parse_certificate(pem);
    Result<PrivateKey> key = PrivateKey::from_pem(key_pem, random_);
    if (!have || !key || key->spki() != have->spki || !signed_by_trusted(*have))
      return fail(Errc::corrupt, out_.damaged + "; and the " + want.what + " cannot be used: " + why);
    why.clear();
  }
  if (!why.empty()) {
    TRY(const std::string spki, key_for(want, key_pem));
    TRY(pem,
        issue(ca_, spki, want.subject, want.names, want.use, leaf_validity(ca_validity_, moment_), random_));
    bool written = true;
    if (key_pem != key_on_disk) {
      TRY(written, put(key_path, key_pem, want.failpoint + "_key.write"));
    }
    // A key without its certificate is no harm: the certificate is made again at the next start.
    if (written) {
      TRY(written, put(pem_path, pem, want.failpoint + ".write"));
    }
    if (written) changed(want.what, why);
  }
  TRY(Certificate now_has, parse_certificate(pem));
  renew_at(leaf_renewal(now_has.validity()));
  return {};
}

// What is served to other devices. Where nothing can be signed and it was never made, the device goes on
// without: it has no cluster to speak to yet.
Result<> Maker::device() {
  const DeviceId id{options_.node_name, true};
  const Leaf want{
      "node", "device certificate", device_subject(id), normal(device_names(id)), Use::peer, "pki.device",
      true};
  if (!out_.damaged.empty()) {
    TRY(const std::string pem, read_if_there(path("node.crt")));
    if (pem.empty()) return {};
  }
  return leaf(want, out_.peer_pem, out_.peer_key_pem);
}

Result<> Maker::kubeconfig() {
  out_.kubeconfig =
      kubeconfig_text(options_.server_url, "limpet-admin", out_.ca_pem, out_.admin_pem, out_.admin_key_pem);
  if (options_.kubeconfig_path.empty()) return {};
  TRY(std::string have, read_if_there(options_.kubeconfig_path));
  // What people changed around the embedded credentials (server, context names) stays theirs.
  auto embeds = [&have](const std::string& pem) {
    return have.find(base64_encode(pem)) != std::string::npos;
  };
  if (embeds(out_.ca_pem) && embeds(out_.admin_pem) && embeds(out_.admin_key_pem)) return {};
  size_t slash = options_.kubeconfig_path.rfind('/');
  bool written = true;
  if (slash != std::string::npos && slash > 0) {
    TRY(written, or_in_memory(make_directories(options_.kubeconfig_path.substr(0, slash), 0755)));
  }
  if (written) {
    TRY(written, put(options_.kubeconfig_path, out_.kubeconfig, "pki.kubeconfig.write"));
  }
  if (written) changed("admin kubeconfig", have.empty() ? "first start" : "its credentials were renewed");
  return {};
}

}  // namespace

Result<Identity> ensure_identity(const IdentityOptions& options, const Moment& moment, Random& random) {
  Result<Identity> identity =
      options.agent ? agent_identity(options, moment, random) : Maker(options, moment, random).run();
  if (!identity) return std::unexpected(std::move(identity).error().with("identity"));
  return identity;
}

std::string kubeconfig_text(std::string_view server_url, std::string_view user, std::string_view ca_pem,
                            std::string_view certificate_pem, std::string_view key_pem) {
  std::string name(user);
  std::string out = "apiVersion: v1\nkind: Config\nclusters:\n- name: limpet\n  cluster:\n";
  out += "    server: " + json::quoted(server_url) + "\n";
  out += "    certificate-authority-data: " + base64_encode(ca_pem) + "\n";
  out += "users:\n- name: " + name + "\n  user:\n";
  out += "    client-certificate-data: " + base64_encode(certificate_pem) + "\n";
  out += "    client-key-data: " + base64_encode(key_pem) + "\n";
  out += "contexts:\n- name: limpet\n  context:\n    cluster: limpet\n    user: " + name + "\n";
  out += "current-context: limpet\npreferences: {}\n";
  return out;
}

}  // namespace limpet::pki
