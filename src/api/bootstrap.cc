#include "api/bootstrap.h"

#include <memory>

#include "api/modify.h"
#include "api/object.h"
#include "api/strategy.h"
#include "schema/codec.h"

namespace limpet::api {
namespace {

constexpr std::string_view kRootCa = "kube-root-ca.crt", kCaKey = "ca.crt";
constexpr std::string_view kBuiltIn[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

json::Value new_object(Core& core, const schema::Resource& r, std::string_view ns, std::string_view name) {
  json::Value v = json::Value::object();
  json::Ref o = v.ref();
  o.set("apiVersion", api_version(r.group(), r.version()));
  o.set("kind", r.kind());
  json::Ref meta = o.ensure_object("metadata");
  meta.set("name", name);
  if (!ns.empty()) meta.set("namespace", ns);
  meta.set("uid", core.random.uuid());
  meta.set("creationTimestamp", rfc3339(core.clock.wall()));
  return v;
}

store::Op put_new(const schema::Resource& r, std::string_view ns, json::Ref o) {
  schema::apply_defaults(o, *r.type());
  schema::apply_create_defaults(o, *r.type());
  return {store::Op::Type::put, object_key(r, ns, o["metadata"]["name"].str()), canonical(r, o), 0};
}

struct Starter : std::enable_shared_from_this<Starter> {
  Core& core;
  std::shared_ptr<Core> owner;
  std::function<void(Result<>)> done;
  const uint64_t term;
  size_t next = 0;

  Starter(Core& c, std::function<void(Result<>)> d)
      : core(c), owner(c.shared_from_this()), done(std::move(d)), term(c.work_term) {}

  void step() {
    if (next == std::size(kBuiltIn)) {
      core.ready = true;
      return done({});
    }
    const schema::Resource* r = schema::find_resource("", "v1", "namespaces");
    if (!r) return done(fail(Errc::internal, "the schema declares no namespaces"));
    std::string_view name = kBuiltIn[next++];
    core.store.durable().get(object_key(*r, "", name),
                             [self = shared_from_this(), r, name](Result<std::optional<store::Item>> got) {
                               if (!got) return self->done(std::unexpected(got.error()));
                               if (*got) return self->step();
                               self->make(*r, name);
                             });
  }

  void make(const schema::Resource& r, std::string_view name) {
    json::Value ns = new_object(core, r, "", name);
    create_namespace(ns.ref());
    store::Txn txn;
    txn.ops.push_back(put_new(r, "", ns.ref()));
    for (store::Op& op : namespace_companions(core, name)) txn.ops.push_back(std::move(op));
    core.commit(core.store.durable(), term, std::move(txn),
                [self = shared_from_this()](Result<store::Committed> c) {
                  // A conflict: it, or a part of it, is there already.
                  if (!c && c.error().code != Errc::conflict) return self->done(std::unexpected(c.error()));
                  self->step();
                });
  }
};

}  // namespace

std::vector<store::Op> namespace_companions(Core& core, std::string_view ns) {
  std::vector<store::Op> ops;
  if (const schema::Resource* r = schema::find_resource("", "v1", "serviceaccounts")) {
    json::Value account = new_object(core, *r, ns, "default");
    ops.push_back(put_new(*r, ns, account.ref()));
  }
  if (const schema::Resource* r = schema::find_resource("", "v1", "configmaps")) {
    json::Value map = new_object(core, *r, ns, kRootCa);
    map.ref().ensure_object("data").set(kCaKey, core.options.cluster_ca_pem);
    ops.push_back(put_new(*r, ns, map.ref()));
  }
  return ops;
}

bool is_companion(std::string_view key, std::string* ns) {
  size_t first = key.find('/'), last = key.rfind('/');
  if (first == std::string_view::npos || first == last) return false;
  std::string_view root = key.substr(0, first), name = key.substr(last + 1);
  if (!(root == "serviceaccounts" && name == "default") && !(root == "configmaps" && name == kRootCa)) {
    return false;
  }
  *ns = key.substr(first + 1, last - first - 1);
  return true;
}

void restore_companions(Core& core, std::string ns) {
  const schema::Resource* r = schema::find_resource("", "v1", "namespaces");
  if (!r) return;
  auto owner = core.shared_from_this();
  const uint64_t term = core.work_term;
  core.store.durable().get(object_key(*r, "", ns), [owner, ns, term](Result<std::optional<store::Item>> got) {
    if (!got || !*got || read_meta(*(*got)->value).deleting) return;
    for (store::Op& op : namespace_companions(*owner, ns)) {
      const bool map = op.key.starts_with("configmaps/");
      store::Txn txn;
      txn.ops.push_back(std::move(op));
      // Refused when it is there: an account as wanted, a map with what somebody may have put into it who was
      // faster. Any other failure is met again at the next start.
      owner->commit(owner->store.durable(), term, std::move(txn),
                    [owner, ns, map](Result<store::Committed> made) {
                      if (map && !made && made.error().code == Errc::conflict) refresh_root_ca(*owner, ns);
                    });
    }
  });
}

void refresh_root_ca(Core& core, std::string ns) {
  const schema::Resource* r = schema::find_resource("", "v1", "configmaps");
  if (!r) return;
  auto owner = core.shared_from_this();
  auto set = [owner](json::Ref map) {
    const std::string& ca = owner->options.cluster_ca_pem;
    if (map["data"].size() == 1 && map["data"][kCaKey].str() == ca) return false;
    json::Value data = json::Value::object();
    data.ref().set(kCaKey, ca);
    map.set("data", std::move(data));
    return true;
  };
  // What cannot be written is met again with the next renewal or start.
  modify_object(core, *r, object_key(*r, ns, kRootCa), std::move(set), [owner, ns](Result<bool> gone) {
    if (gone && *gone) restore_companions(*owner, ns);
  });
}

void refresh_root_cas(Core& core) {
  const schema::Resource* r = schema::find_resource("", "v1", "namespaces");
  if (!r) return;
  auto owner = core.shared_from_this();
  auto after = std::make_shared<std::string>();
  auto step = std::make_shared<std::function<void()>>();
  *step = [owner, r, after, weak = std::weak_ptr(step)] {
    owner->store.durable().list(key_prefix(*r, ""), *after, 0, 0,
                                [owner, after, step = weak.lock()](Result<store::Page> page) {
                                  if (!page || owner->stopping) return;
                                  for (const store::Item& item : page->items) {
                                    *after = item.key;
                                    refresh_root_ca(*owner, read_meta(*item.value).name);
                                  }
                                  if (page->more) owner->loop.defer([step] { (*step)(); });
                                });
  };
  (*step)();
}

void find_built_in(Core& core, std::function<void(bool)> done) {
  const schema::Resource* r = schema::find_resource("", "v1", "namespaces");
  if (!r) return done(false);
  auto left = std::make_shared<size_t>(std::size(kBuiltIn));
  auto all = std::make_shared<bool>(true);
  for (std::string_view name : kBuiltIn) {
    core.store.durable().get(object_key(*r, "", name),
                             [left, all, done](Result<std::optional<store::Item>> got) {
                               *all = *all && got && *got;
                               if (--*left == 0) done(*all);
                             });
  }
}

void bootstrap(Core& core, std::function<void(Result<>)> done) {
  std::make_shared<Starter>(core, std::move(done))->step();
}

}  // namespace limpet::api
