#include "api/write.h"

#include "api/admission.h"
#include "api/bootstrap.h"
#include "api/compat.h"
#include "api/encoder.h"
#include "api/node_restriction.h"
#include "api/object.h"
#include "api/removal.h"
#include "api/strategy.h"
#include "api/typed.h"
#include "schema/codec.h"
#include "schema/names.h"

namespace limpet::api {
namespace {

constexpr int kTries = 5;
constexpr int kNameTries = 8;

void answer_object(const CallPtr& call, std::string_view stored, store::Revision rv, int code) {
  Encoder encoder(*call->resource, call->answer, call->core.clock.wall());
  call->respond(code, encoder.object(stored, rv), encoder.content_type());
}

void put_back(json::Ref to, std::string_view key, json::Ref from) {
  if (from) {
    to.set(key, from.clone());
  } else {
    to.remove(key);
  }
}

}  // namespace

Outcome<> check_size(json::Ref object) {
  if (json::count_values(object, schema::kMaxValues) <= schema::kMaxValues) return {};
  return std::unexpected(status::entity_too_large(
      strf("Request entity too large: the object has more than %zu values, metadata.managedFields included",
           schema::kMaxValues)));
}

namespace {

// ---- update

class Updater : public std::enable_shared_from_this<Updater> {
 public:
  Updater(CallPtr call, Update update)
      : call_(std::move(call)), u_(std::move(update)), r_(*call_->resource) {}

  void read() {
    space().get(u_.key, [self = shared_from_this()](Result<std::optional<store::Item>> got) {
      if (!got) return self->call_->fail(status::from_error(got.error()));
      self->on_current(std::move(*got));
    });
  }

 private:
  store::Space& space() { return call_->core.space(r_); }

  void on_current(std::optional<store::Item> current) {
    if (!current && !u_.create_if_absent) return call_->fail(status::not_found(r_, call_->info.name));
    current_ = std::move(current);
    Outcome<json::Value> made = u_.make(current_ ? &*current_ : nullptr);
    if (!made) return call_->fail(made.error());
    if (!current_) return run_create(call_, std::move(*made), u_.track);
    object_ = std::move(*made);
    Result<json::Value> old = parse_stored(*current_->value, current_->mod_revision);
    if (!old) return call_->fail(status::from_error(old.error()));
    old_ = std::move(*old);
    if (Outcome<> o = check(); !o) return call_->fail(o.error());
    keep_system_fields();
    Admission a{*call_, r_, call_->ns(), false};
    look_up(call_->core, admission_needs(a, object_.ref()),
            [self = shared_from_this()](Outcome<Lookups> lookups) {
              if (!lookups) return self->call_->fail(lookups.error());
              self->complete(*lookups);
            });
  }

  Outcome<> check() {
    json::Ref meta = object_.ref().ensure_object("metadata"), old = old_.ref()["metadata"];
    std::string_view rv = meta["resourceVersion"].str();
    versioned_ = !rv.empty() && rv != "0" && call_->info.verb == "update";
    if (!rv.empty() && rv != "0" && rv != old["resourceVersion"].str()) {
      return std::unexpected(status::modified(r_, call_->info.name));
    }
    put_back(meta, "resourceVersion", old["resourceVersion"]);  // none given: unconditional
    std::string_view uid = meta["uid"].str();
    if (!uid.empty() && uid != old["uid"].str()) {
      return std::unexpected(
          status::conflict(r_, call_->info.name,
                           "Precondition failed: UID in precondition: " + std::string(uid) +
                               ", UID in object meta: " + std::string(old["uid"].str())));
    }
    return {};
  }

  void keep_system_fields() {
    json::Ref object = object_.ref(), old = old_.ref();
    json::Ref meta = object.ensure_object("metadata"), old_meta = old["metadata"];
    for (std::string_view k : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
                               "deletionGracePeriodSeconds", "generation", "generateName"}) {
      put_back(meta, k, old_meta[k]);
    }
    meta.remove("selfLink");
    if (u_.part == Part::main) put_back(object, "status", old["status"]);
    if (call_->info.subresource == "ephemeralcontainers") return keep_but_ephemeral();
    if (u_.part != Part::status) return;
    // A status write changes status, and of the metadata labels, annotations and finalizers' siblings only.
    put_back(meta, "ownerReferences", old_meta["ownerReferences"]);
    put_back(meta, "finalizers", old_meta["finalizers"]);
    std::vector<std::string> keys;
    for (json::Ref m : old) keys.emplace_back(m.key());
    for (json::Ref m : object) keys.emplace_back(m.key());
    for (const std::string& k : keys) {
      if (k != "metadata" && k != "status" && k != "kind" && k != "apiVersion") put_back(object, k, old[k]);
    }
  }

  // Ephemeral containers can be added to a running pod; nothing else of it changes.
  void keep_but_ephemeral() {
    json::Value wanted = object_.ref()["spec"].take("ephemeralContainers");
    object_ = old_.clone();
    if (wanted) object_.ref().ensure_object("spec").set("ephemeralContainers", std::move(wanted));
  }

  Outcome<> check_ephemeral() const {
    json::Ref now = object_.ref()["spec"]["ephemeralContainers"];
    for (json::Ref before : old_.ref()["spec"]["ephemeralContainers"]) {
      bool kept = false;
      for (json::Ref c : now) kept = kept || c.equals(before);
      if (kept) continue;
      return std::unexpected(
          status::invalid(r_.group(), r_.kind(), call_->info.name,
                          {{"FieldValueForbidden",
                            "Forbidden: existing ephemeral containers \"" +
                                std::string(before["name"].str()) + "\" may not be changed",
                            "spec.ephemeralContainers"}}));
    }
    return validate_ephemeral(r_, object_.ref());
  }

  void complete(const Lookups& lookups) {
    json::Ref object = object_.ref();
    const Strategy& strategy = strategy_of(r_);
    json::Cursor old_bytes(*current_->value);
    if (u_.part == Part::main) {
      if (strategy.update) strategy.update(object, old_bytes);
      schema::apply_defaults(object, *r_.type());
      Admission a{*call_, r_, call_->ns(), false};
      if (Outcome<> o = admit(a, object, old_bytes, lookups); !o) return call_->fail(o.error());
    } else {
      schema::apply_defaults(object, *r_.type());
      Admission a{*call_, r_, call_->ns(), false};
      if (Outcome<> o = node_restriction(a, object, old_bytes, lookups); !o) return call_->fail(o.error());
    }
    // What other subresources may change was settled when they made the object.
    if (u_.part != Part::whole) {
      Outcome<> o = validate_change(r_, object, old_.ref(), u_.part == Part::status);
      if (!o) return call_->fail(o.error());
    }
    if (call_->info.subresource == "ephemeralcontainers") {
      if (Outcome<> o = check_ephemeral(); !o) return call_->fail(o.error());
    }
    if (u_.part != Part::status && strategy.generation && desired_changed(strategy)) {
      json::Ref meta = object["metadata"];
      meta.set("generation", meta["generation"].integer() + 1);
    }
    if (u_.part == Part::main && call_->info.subresource.empty()) warn_not_acted_on(*call_, r_, object);
    // Recording owners takes many times what the object does: what is too large already never gets there.
    if (Outcome<> o = check_size(object); !o) return call_->fail(o.error());
    if (u_.track) record_manager(*call_, r_, object, old_.ref(), call_->info.subresource);
    commit();
  }

  bool desired_changed(const Strategy& strategy) const {
    json::Ref a = object_.ref(), b = old_.ref();
    if (strategy.annotations) {
      json::Ref now = a["metadata"]["annotations"], before = b["metadata"]["annotations"];
      if (now.size() != before.size() || (now.size() > 0 && !now.equals(before))) return true;
    }
    for (json::Ref m : a) {
      std::string_view k = m.key();
      if (k == "metadata" || k == "status" || k == "kind" || k == "apiVersion") continue;
      if (!m.equals(b[k])) return true;
    }
    for (json::Ref m : b) {
      std::string_view k = m.key();
      if (k != "metadata" && k != "status" && !a[k]) return true;
    }
    return false;
  }

  void commit() {
    if (Outcome<> o = check_size(object_.ref()); !o) return call_->fail(o.error());
    bool gone = ready_to_go(r_, object_.ref());
    std::string bytes = canonical(r_, object_.ref());
    object_ = json::Value();  // trees of wide objects are large, and the disk takes its time
    old_ = json::Value();
    // What changes nothing is not written: no revision, no flash, no event.
    if (call_->dry_run() || (!gone && bytes == *current_->value)) {
      return answer(bytes, current_->mod_revision);
    }
    store::Op op;
    op.type = gone ? store::Op::Type::remove : store::Op::Type::put;
    op.key = u_.key;
    op.expect = current_->mod_revision;
    if (!gone) op.value = bytes;
    store::Txn txn;
    txn.ops.push_back(std::move(op));
    call_->core.commit(space(), call_->term, std::move(txn),
                       [self = shared_from_this(), bytes = std::move(bytes)](Result<store::Committed> c) {
                         if (!c) return self->on_refused(c.error());
                         self->call_->unconfirmed = false;
                         self->answer(bytes, c->revision);
                       });
  }

  // Only what was certainly not done is done again.
  void on_refused(const Error& e) {
    if (e.code != Errc::conflict) return call_->fail(status::from_error(e));
    if (versioned_ || ++tries_ >= kTries || call_->answered()) {
      return call_->fail(status::modified(r_, call_->info.name));
    }
    read();
  }

  void answer(std::string_view stored, store::Revision rv) {
    if (u_.answer) return u_.answer(call_, stored, rv, false);
    answer_object(call_, stored, rv, 200);
  }

  CallPtr call_;
  Update u_;
  const schema::Resource& r_;
  std::optional<store::Item> current_;
  json::Value object_, old_;
  bool versioned_ = false;
  int tries_ = 0;
};

// ---- create

class Creator : public std::enable_shared_from_this<Creator> {
 public:
  Creator(CallPtr call, json::Value object, bool track)
      : call_(std::move(call)), object_(std::move(object)), r_(*call_->resource), track_(track) {}

  void start() {
    json::Ref meta = object_.ref().ensure_object("metadata");
    if (!meta["resourceVersion"].str().empty()) {
      return call_->fail(status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    generate_ = meta["name"].str().empty() && !meta["generateName"].str().empty();
    for (std::string_view k :
         {"selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"}) {
      meta.remove(k);
    }
    meta.set("uid", call_->core.random.uuid());
    meta.set("creationTimestamp", rfc3339(call_->core.clock.wall()));
    meta.remove("generation");
    Admission a{*call_, r_, call_->ns(), true};
    look_up(call_->core, admission_needs(a, object_.ref()),
            [self = shared_from_this()](Outcome<Lookups> lookups) {
              if (!lookups) return self->call_->fail(lookups.error());
              self->complete(*lookups);
            });
  }

 private:
  void complete(const Lookups& lookups) {
    json::Ref object = object_.ref();
    json::Ref meta = object["metadata"];
    if (generate_) meta.set("name", schema::generate_name(meta["generateName"].str(), call_->core.random));
    const Strategy& strategy = strategy_of(r_);
    if (has_status()) object.remove("status");
    schema::apply_defaults(object, *r_.type());
    // What admission and the kind add from here on belongs to nobody: a later apply of its sender leaves it
    // alone.
    if (track_) record_creator(*call_, r_, object);
    Admission a{*call_, r_, call_->ns(), true};
    if (Outcome<> o = admit(a, object, json::Cursor(), lookups); !o) return call_->fail(o.error());
    schema::apply_defaults(object, *r_.type());
    schema::apply_create_defaults(object, *r_.type());
    if (strategy.generation) meta.set("generation", 1);
    if (strategy.create) strategy.create(object);
    if (Outcome<> o = validate_new(r_, object); !o) return call_->fail(o.error());
    warn_not_acted_on(*call_, r_, object);
    commit();
  }

  // Kinds with a status subresource are created without one.
  bool has_status() const {
    for (std::string_view s : r_.subresources()) {
      if (s.starts_with("status=")) return !(r_.group().empty() && r_.plural() == "nodes");
    }
    return false;
  }

  void commit() {
    if (Outcome<> o = check_size(object_.ref()); !o) return call_->fail(o.error());
    std::string name(object_.ref()["metadata"]["name"].str());
    std::string key = object_key(r_, call_->ns(), name);
    std::string bytes = canonical(r_, object_.ref());
    if (call_->dry_run()) {
      call_->core.space(r_).get(
          key, [self = shared_from_this(), bytes, name](Result<std::optional<store::Item>> got) {
            if (!got) return self->call_->fail(status::from_error(got.error()));
            if (*got) return self->call_->fail(status::already_exists(self->r_, name));
            answer_object(self->call_, bytes, 0, 201);
          });
      return;
    }
    store::Txn txn;
    txn.ops.push_back({store::Op::Type::put, key, bytes, 0});
    add_companions(txn, name);
    call_->core.commit(call_->core.space(r_), call_->term, std::move(txn),
                       [self = shared_from_this(), bytes, name](Result<store::Committed> c) {
                         if (!c) return self->on_refused(c.error(), name);
                         self->call_->unconfirmed = false;
                         answer_object(self->call_, bytes, c->revision, 201);
                       });
  }

  void on_refused(const Error& e, const std::string& name) {
    if (e.code != Errc::conflict) return call_->fail(status::from_error(e));
    if (generate_ && ++tries_ < kNameTries) return again();
    call_->fail(status::already_exists(r_, name));
  }

  // A namespace is born with what every namespace has, in one transaction: no pod can come before its
  // account.
  void add_companions(store::Txn& txn, std::string_view name);

  void again() {
    json::Ref meta = object_.ref()["metadata"];
    meta.set("name", schema::generate_name(meta["generateName"].str(), call_->core.random));
    if (r_.group().empty() && r_.plural() == "namespaces") create_namespace(object_.ref());
    commit();
  }

  CallPtr call_;
  json::Value object_;
  const schema::Resource& r_;
  bool track_, generate_ = false;
  int tries_ = 0;
};

void Creator::add_companions(store::Txn& txn, std::string_view name) {
  if (!r_.group().empty() || r_.plural() != "namespaces") return;
  for (store::Op& op : namespace_companions(call_->core, name)) txn.ops.push_back(std::move(op));
}

}  // namespace

void run_update(CallPtr call, Update update) {
  std::make_shared<Updater>(std::move(call), std::move(update))->read();
}

void run_create(CallPtr call, json::Value object, bool track) {
  std::make_shared<Creator>(std::move(call), std::move(object), track)->start();
}

std::string field_manager(const Call& call) {
  std::string_view given = call.query().get("fieldManager");
  if (given.empty()) {
    given = call.request().headers.get("User-Agent");
    given = given.substr(0, given.find('/'));
  }
  return std::string(given.empty() ? std::string_view("unknown") : given.substr(0, 128));
}

}  // namespace limpet::api
