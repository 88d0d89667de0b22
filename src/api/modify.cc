#include "api/modify.h"

#include "api/object.h"
#include "api/removal.h"

namespace limpet::api {
namespace {

constexpr int kTries = 10;

struct Modifier : std::enable_shared_from_this<Modifier> {
  std::shared_ptr<Core> core;
  const schema::Resource& r;
  std::string key;
  std::function<bool(json::Ref)> change;
  std::function<void(Result<bool>)> done;
  const uint64_t term;
  int tries = 0;

  Modifier(Core& c, const schema::Resource& res) : core(c.shared_from_this()), r(res), term(c.work_term) {}

  void read() {
    core->space(r).get(key, [self = shared_from_this()](Result<std::optional<store::Item>> got) {
      if (!got) return self->done(std::unexpected(got.error()));
      if (!*got) return self->done(true);
      self->act(**got);
    });
  }

  void act(const store::Item& item) {
    Result<json::Value> object = parse_stored(*item.value, 0);
    if (!object) return done(std::unexpected(object.error()));
    if (!change(object->ref())) return done(false);
    bool gone = ready_to_go(r, object->ref());
    store::Txn txn;
    txn.ops.push_back({gone ? store::Op::Type::remove : store::Op::Type::put, key,
                       gone ? std::string() : canonical(r, object->ref()), item.mod_revision});
    core->commit(core->space(r), term, std::move(txn),
                 [self = shared_from_this(), gone](Result<store::Committed> c) {
                   if (c) return self->done(gone);
                   if (c.error().code == Errc::conflict && ++self->tries < kTries) return self->read();
                   self->done(std::unexpected(c.error()));
                 });
  }
};

}  // namespace

void modify_object(Core& core, const schema::Resource& r, std::string key,
                   std::function<bool(json::Ref)> change, std::function<void(Result<bool>)> done) {
  auto m = std::make_shared<Modifier>(core, r);
  m->key = std::move(key);
  m->change = std::move(change);
  m->done = std::move(done);
  m->read();
}

const schema::Resource* resource_of_key(std::string_view key) {
  std::string_view root = key.substr(0, key.find('/'));
  size_t dot = root.find('.');
  std::string_view plural = root.substr(0, dot);
  std::string_view group = dot == std::string_view::npos ? std::string_view() : root.substr(dot + 1);
  for (const schema::Resource& r : schema::resources()) {
    if (r.plural() == plural && r.group() == group) return &r;
  }
  return nullptr;
}

}  // namespace limpet::api
