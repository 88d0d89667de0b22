#include "daemon/key_ring.h"

#include <charconv>

#include "cluster/authority.h"
#include "cluster/signing.h"

namespace limpet::daemon {
namespace {
constexpr std::string_view wraps_prefix = "limpet/data-key/";
}  // namespace

void KeyRing::prepare(std::function<void(Result<Prepared>)> done) {
  if (known_) return done(Prepared{*known_, {}});
  device_.store->durable().list(
      std::string(wraps_prefix), "", 0, 0,
      [this, here = std::weak_ptr<char>(alive_), done = std::move(done)](Result<store::Page> page) {
        if (here.expired()) return;
        if (!page) return done(std::unexpected(page.error()));
        done(page->items.empty() ? first_time() : open(page->items));
      });
}

Result<pki::PrivateKey> KeyRing::own_key() const {
  return pki::PrivateKey::from_pem(device_.identity.peer_key_pem, device_.random);
}

Result<KeyRing::Prepared> KeyRing::first_time() {
  Prepared out{cluster::make_data_key(1, device_.random), {}};
  TRY(const pki::PrivateKey own, own_key());
  TRY(std::string wrap, cluster::wrap_data_key(out.data_key, device_.node_name, own.spki(), device_.random));
  const auto put = [&out](std::string key, std::string value) {
    out.ops.push_back({store::Op::Type::put, std::move(key), std::move(value), 0});
  };
  put(cluster::data_key_path(out.data_key.generation, device_.node_name), std::move(wrap));
  const pki::Identity& id = device_.identity;
  const cluster::Authorities authorities{.since = device_.clock.wall().seconds,
                                         .current = {id.ca_pem, id.ca_key_pem}};
  const cluster::SigningKeys signing{.current_pem = id.service_account_key_pem};
  const std::pair<std::string_view, std::string> values[] = {{cluster::authority_path, encode(authorities)},
                                                             {cluster::signing_path, encode(signing)}};
  for (const auto& [path, plain] : values) {
    TRY(std::string sealed, cluster::seal_value(out.data_key, path, plain, device_.random));
    put(std::string(path), std::move(sealed));
  }
  return out;
}

// The newest generation that was wrapped for this server.
Result<KeyRing::Prepared> KeyRing::open(const std::vector<store::Item>& wraps) {
  uint64_t newest = 0;
  const store::Item* chosen = nullptr;
  for (const store::Item& item : wraps) {
    const std::string_view rest = std::string_view(item.key).substr(wraps_prefix.size());
    uint64_t generation = 0;
    const auto [end, wrong] = std::from_chars(rest.data(), rest.data() + rest.size(), generation);
    if (wrong != std::errc() ||
        rest.substr(static_cast<size_t>(end - rest.data())) != "/" + device_.node_name)
      continue;
    if (generation > newest) {
      newest = generation;
      chosen = &item;
    }
  }
  if (!chosen) {
    return fail(Errc::corrupt, "the cluster's keys are not wrapped for " + device_.node_name +
                                   ": another server can let devices in");
  }
  TRY(const pki::PrivateKey own, own_key());
  TRY(known_, cluster::unwrap_data_key(newest, device_.node_name, *chosen->value, own, device_.random));
  return Prepared{*known_, {}};
}

}  // namespace limpet::daemon
