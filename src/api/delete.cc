#include "api/body.h"
#include "api/deletion.h"
#include "api/encoder.h"
#include "api/node_restriction.h"
#include "api/object.h"
#include "api/strategy.h"
#include "api/verbs.h"

namespace limpet::api {
namespace {

constexpr int kTries = 5;

struct Deleter : std::enable_shared_from_this<Deleter> {
  Core& core;
  std::shared_ptr<Core> owner;
  const schema::Resource& r;
  std::string key, name;
  DeleteOptions options;
  uint64_t term = 0;
  std::function<void(Outcome<Deletion>)> done;
  int tries = 0;

  Deleter(Core& c, const schema::Resource& res) : core(c), owner(c.shared_from_this()), r(res) {}

  void read() {
    core.space(r).get(key, [self = shared_from_this()](Result<std::optional<store::Item>> got) {
      if (!got) return self->done(std::unexpected(status::from_error(got.error())));
      if (!*got) return self->done(std::unexpected(status::not_found(self->r, self->name)));
      self->act(**got);
    });
  }

  void act(const store::Item& item) {
    if (options.allowed) {
      if (Outcome<> o = options.allowed(json::Cursor(*item.value)); !o)
        return done(std::unexpected(o.error()));
    }
    Outcome<Removal> plan = plan_removal(r, *item.value, item.mod_revision, options, core.clock.wall());
    if (!plan) return done(std::unexpected(plan.error()));
    Deletion d;
    d.uid = plan->uid;
    d.gone = plan->action == Removal::Action::remove;
    d.stored = d.gone ? *item.value : plan->bytes;
    d.version = item.mod_revision;
    if (options.dry_run || plan->action == Removal::Action::keep) return done(std::move(d));
    store::Txn txn;
    txn.ops.push_back({d.gone ? store::Op::Type::remove : store::Op::Type::put, key,
                       d.gone ? "" : plan->bytes, item.mod_revision});
    core.commit(core.space(r), term, std::move(txn),
                [self = shared_from_this(), d = std::move(d)](Result<store::Committed> c) mutable {
                  if (!c) return self->on_refused(c.error());
                  d.committed = true;
                  d.version = c->revision;
                  self->done(std::move(d));
                });
  }

  // Where somebody was faster, preconditions of the caller are checked against the new state.
  void on_refused(const Error& e) {
    if (e.code != Errc::conflict) return done(std::unexpected(status::from_error(e)));
    if (++tries < kTries) return read();
    done(std::unexpected(status::modified(r, name)));
  }
};

}  // namespace

void run_delete(Core& core, const schema::Resource& r, std::string key, DeleteOptions options, uint64_t term,
                std::function<void(Outcome<Deletion>)> done) {
  auto d = std::make_shared<Deleter>(core, r);
  d->key = std::move(key);
  d->name = d->key.substr(d->key.rfind('/') + 1);
  d->options = std::move(options);
  d->term = term;
  d->done = std::move(done);
  d->read();
}

Outcome<DeleteOptions> delete_options(Call& call) {
  Outcome<json::Value> body = decode_delete_options(call);
  if (!body) return std::unexpected(body.error());
  const http::Query& q = call.query();
  std::optional<bool> orphan;
  if (q.has("orphanDependents")) orphan = truthy(q, "orphanDependents");
  return read_delete_options(
      body->ref(), {q.get("gracePeriodSeconds"), q.get("propagationPolicy"), orphan, q.get("dryRun")});
}

void delete_object(CallPtr call) {
  Outcome<DeleteOptions> options = delete_options(*call);
  if (!options) return call->fail(options.error());
  if (call->dry_run()) options->dry_run = true;
  bool foreground = options->propagation == "Foreground";
  const schema::Resource& r = *call->resource;
  options->allowed = [call](json::Cursor o) { return restrict_deletion(*call, *call->resource, o); };
  run_delete(call->core, r, object_key(r, call->ns(), call->info.name), std::move(*options), call->term,
             [call, foreground](Outcome<Deletion> d) {
               if (!d) return call->fail(d.error());
               if (d->committed) call->unconfirmed = false;
               const schema::Resource& res = *call->resource;
               if (d->gone && !strategy_of(res).returns_object_when_deleted) {
                 return call->respond(200, status::deleted(res, call->info.name, d->uid).json());
               }
               Encoder encoder(res, call->answer, call->core.clock.wall());
               call->respond(!d->gone && foreground ? 202 : 200, encoder.object(d->stored, d->version),
                             encoder.content_type());
             });
}

}  // namespace limpet::api
