#include "daemon/key_follower.h"

#include "api/identity.h"
#include "base/log.h"
#include "daemon/key_ring.h"
#include "store/store.h"

namespace limpet::daemon {

KeyFollower::KeyFollower(Device& device, loop::Task changed)
    : device_(device),
      changed_(std::move(changed)),
      keys_(device.loop, device.store->durable(), std::string(cluster::keys_prefix), [this] { look(); }),
      wraps_(device.loop, device.store->durable(), std::string(cluster::wraps_prefix), [this] { look(); }) {}

std::vector<std::string> KeyFollower::wraps() const {
  std::vector<std::string> out;
  for (const auto& [key, item] : wraps_.items()) out.push_back(key);
  return out;
}

void KeyFollower::look() {
  if (!keys_.known() || !wraps_.known()) return;
  auto opened = open();
  if (!opened) {
    log::error("the cluster's keys in the store cannot be opened, going on with those of the files",
               {{"error", opened.error()}});
    opened_.reset();
    return changed_();
  }
  const bool same = opened->has_value() == opened_.has_value() &&
                    (!opened_ || (opened_->authority_revision == (*opened)->authority_revision &&
                                  opened_->signing_revision == (*opened)->signing_revision));
  if (same) return;
  opened_ = std::move(*opened);
  if (opened_) follow();
  changed_();
}

// Nothing: none are there, or what came of one transaction is not all here yet.
Result<std::optional<OpenedKeys>> KeyFollower::open() const {
  const auto authority = keys_.items().find(std::string(cluster::authority_path));
  const auto signing = keys_.items().find(std::string(cluster::signing_path));
  if (authority == keys_.items().end() || signing == keys_.items().end()) return std::nullopt;
  const std::string& sealed = *authority->second.value;
  TRY(const uint64_t generation, cluster::sealed_generation(sealed));
  const auto wrap = wraps_.items().find(cluster::data_key_path(generation, device_.node_name));
  if (wrap == wraps_.items().end()) return std::nullopt;
  TRY(const pki::PrivateKey own, pki::PrivateKey::from_pem(device_.identity.peer_key_pem, device_.random));
  OpenedKeys out;
  TRY(out.data_key,
      cluster::unwrap_data_key(generation, device_.node_name, *wrap->second.value, own, device_.random));
  TRY(const std::string authorities, cluster::open_value(out.data_key, cluster::authority_path, sealed));
  TRY(out.authorities, cluster::decode_authorities(authorities));
  out.authority_revision = authority->second.mod_revision;
  TRY(const std::string keys,
      cluster::open_value(out.data_key, cluster::signing_path, *signing->second.value));
  TRY(out.signing, cluster::decode_signing_keys(keys));
  out.signing_revision = signing->second.mod_revision;
  return out;
}

void KeyFollower::follow() {
  const cluster::Authorities& a = opened_->authorities;
  auto keys = cluster::account_keys(opened_->signing, device_.random);
  if (keys && device_.account_keys) {
    if (auto taken = device_.account_keys->set(*keys, device_.random); !taken)
      keys = std::unexpected(taken.error());
  }
  if (!keys) {
    log::error("the keys of service-account tokens cannot be taken, going on with those of before",
               {{"error", keys.error()}});
  }
  if (device_.take_keys)
    device_.take_keys({cluster::trusted_pem(a), a.current.key_pem, opened_->signing.current_pem});
}

}  // namespace limpet::daemon
