#include "daemon/key_ring.h"

#include "cluster/authority.h"
#include "cluster/signing.h"

namespace limpet::daemon {

// The authority first: it changes whenever the data key does, so that a wrap that is older than it is met by
// the precondition.
void KeyRing::prepare(Done done) {
  device_.store->durable().get(std::string(cluster::authority_path),
                               [this, here = std::weak_ptr<char>(alive_),
                                done = std::move(done)](Result<std::optional<store::Item>> authority) {
                                 if (here.expired()) return;
                                 if (!authority) return done(std::unexpected(authority.error()));
                                 if (!*authority) return done(first_time());
                                 open(**authority, done);
                               });
}

Result<pki::PrivateKey> KeyRing::own_key() const {
  return pki::PrivateKey::from_pem(device_.identity.peer_key_pem, device_.random);
}

Result<KeyRing::Prepared> KeyRing::first_time() {
  Prepared out{cluster::make_data_key(1, device_.random), {}, {}};
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

void KeyRing::open(const store::Item& authority, const Done& done) {
  const auto generation = cluster::sealed_generation(*authority.value);
  if (!generation) return done(std::unexpected(generation.error()));
  store::Op unchanged{store::Op::Type::put, authority.key, *authority.value, authority.mod_revision};
  device_.store->durable().get(
      cluster::data_key_path(*generation, device_.node_name),
      [this, here = std::weak_ptr<char>(alive_), generation = *generation, unchanged = std::move(unchanged),
       done](Result<std::optional<store::Item>> wrap) {
        if (here.expired()) return;
        if (!wrap) return done(std::unexpected(wrap.error()));
        if (!*wrap) {
          return done(fail(Errc::corrupt, "the cluster's keys are not wrapped for " + device_.node_name +
                                              ": another server can let devices in"));
        }
        const auto own = own_key();
        if (!own) return done(std::unexpected(own.error()));
        auto key =
            cluster::unwrap_data_key(generation, device_.node_name, *(*wrap)->value, *own, device_.random);
        if (!key) return done(std::unexpected(key.error()));
        done(Prepared{*key, {}, unchanged});
      });
}

}  // namespace limpet::daemon
