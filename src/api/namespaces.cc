// The end of a namespace: its content is deleted, kind by kind, until nothing is left; then it loses the
// finalizer that every namespace is born with.
// https://kubernetes.io/docs/concepts/architecture/garbage-collection/
#include "api/body.h"
#include "api/deletion.h"
#include "api/modify.h"
#include "api/object.h"
#include "api/subresources.h"
#include "api/sweeper.h"
#include "api/write.h"

namespace limpet::api {
namespace {

struct Emptying : std::enable_shared_from_this<Emptying> {
  std::shared_ptr<Core> core;
  std::string ns;
  uint64_t term = 0;
  std::function<void(Result<NamespaceRest>)> done;
  std::vector<const schema::Resource*> kinds;  // pods first
  size_t kind = 0;
  std::string after;
  store::Page page;
  size_t next = 0;
  NamespaceRest rest;

  void start() {
    for (const schema::Resource& r : schema::resources()) {
      if (!r.namespaced() || r.storage() == schema::Storage::none) continue;
      bool pods = r.group().empty() && r.plural() == "pods";
      kinds.insert(pods ? kinds.begin() : kinds.end(), &r);
    }
    step();
  }

  // Pods end with everything there that they may need to end well, and with all that confines them.
  void step() {
    if (kind == kinds.size() || (kind == 1 && !rest.empty())) return done(std::move(rest));
    read(*kinds[kind]);
  }

  void read(const schema::Resource& r) {
    core->space(r).list(key_prefix(r, ns), after, 0, 0, [self = shared_from_this()](Result<store::Page> p) {
      if (!p) return self->done(std::unexpected(p.error()));
      self->page = std::move(*p);
      self->next = 0;
      self->remove();
    });
  }

  void remove() {
    if (next == page.items.size()) {
      if (!page.more) {
        ++kind;
        after.clear();
      }
      return step();
    }
    const store::Item& item = page.items[next++];
    after = item.key;
    DeleteOptions options;
    options.propagation = "Background";
    run_delete(*core, *kinds[kind], item.key, options, term,
               [self = shared_from_this()](Outcome<Deletion> d) {
                 self->note(d);
                 self->core->loop.defer([self] { self->remove(); });
               });
  }

  // What stays for a while (pods that end, finalizers) is looked for again later.
  void note(const Outcome<Deletion>& d) {
    if (d ? d->gone : d.error().code == 404) return;
    if (!d) return rest.errors.push_back(d.error().message);
    const schema::Resource& r = *kinds[kind];
    ++rest.resources[std::string(r.plural()) + "." + std::string(r.group())];
    json::Cursor(d->stored)["metadata"]["finalizers"].each([this](std::string_view, json::Cursor f) {
      ++rest.finalizers[f.str()];
      return true;
    });
  }
};

bool drop_kubernetes(json::Ref ns) {
  json::Ref list = ns["spec"]["finalizers"];
  for (size_t i = 0; i < list.size(); ++i) {
    if (list.at(i).str() != "kubernetes") continue;
    list.remove_at(i);
    if (list.size() == 0) ns["spec"].remove("finalizers");
    return true;
  }
  return false;
}

}  // namespace

void empty_namespace(Core& core, std::string ns, std::function<void(Result<NamespaceRest>)> done) {
  auto e = std::make_shared<Emptying>();
  e->core = core.shared_from_this();
  e->ns = std::move(ns);
  e->term = core.work_term;
  e->done = std::move(done);
  e->start();
}

// Commits are in order: after this write is through, everything that was admitted while the namespace was
// still open has arrived, and a second look finds it.
void release_namespace(Core& core, std::string ns, std::function<void(Result<bool>)> done) {
  const schema::Resource* r = schema::find_resource("", "v1", "namespaces");
  if (!r) return done(fail(Errc::internal, "the schema declares no namespaces"));
  std::string key = object_key(*r, "", ns);
  auto owner = core.shared_from_this();
  auto barrier = [now = core.clock.wall()](json::Ref o) { return set_namespace_conditions(o, {}, now); };
  modify_object(core, *r, key, barrier, [owner, r, key, ns, done](Result<bool> m) {
    if (!m) return done(std::unexpected(m.error()));
    empty_namespace(*owner, ns, [owner, r, key, done](Result<NamespaceRest> rest) {
      if (!rest) return done(std::unexpected(rest.error()));
      if (!rest->empty()) return done(fail(Errc::unavailable, "content arrived late"));
      modify_object(*owner, *r, key, drop_kubernetes, done);
    });
  });
}

void finalize_namespace(CallPtr call) {
  const schema::Resource& r = *call->resource;
  Outcome<json::Value> object = decode_object(*call, *r.type(), r.group(), r.version(), r.kind());
  if (!object) return call->fail(object.error());
  if (Outcome<> o = check_address(*call, object->ref(), true); !o) return call->fail(o.error());
  auto body = std::make_shared<json::Value>(std::move(*object));
  Update u;
  u.part = Part::whole;
  u.key = object_key(r, "", call->info.name);
  // Of the body only spec.finalizers counts.
  u.make = [body](const store::Item* current) -> Outcome<json::Value> {
    Result<json::Value> now = parse_stored(*current->value, current->mod_revision);
    if (!now) return std::unexpected(status::from_error(now.error()));
    json::Ref finalizers = body->ref()["spec"]["finalizers"];
    if (finalizers.size() > 0) {
      now->ref().ensure_object("spec").set("finalizers", finalizers.clone());
    } else {
      now->ref().ensure_object("spec").remove("finalizers");
    }
    std::string_view rv = body->ref()["metadata"]["resourceVersion"].str();
    if (!rv.empty()) now->ref()["metadata"].set("resourceVersion", rv);
    return std::move(*now);
  };
  run_update(std::move(call), std::move(u));
}

}  // namespace limpet::api
