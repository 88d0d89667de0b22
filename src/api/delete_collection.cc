// Deleting everything that a selection matches, one after the other, and answering with the list of what it
// was.
#include "api/deletion.h"
#include "api/encoder.h"
#include "api/list_options.h"
#include "api/selection.h"
#include "api/verbs.h"

namespace limpet::api {
namespace {

constexpr size_t kMaxAnswer = 1u << 20;  // what is deleted beyond it is not repeated in the answer

struct Sweep : std::enable_shared_from_this<Sweep> {
  CallPtr call;
  Selection selection;
  DeleteOptions options;
  Encoder encoder;
  store::Revision revision = 0;
  std::string after, text;
  store::Page page;
  size_t next = 0;
  bool began = false;  // something was deleted

  Sweep(CallPtr c, Selection s, DeleteOptions o)
      : call(std::move(c)),
        selection(std::move(s)),
        options(std::move(o)),
        encoder(*call->resource, call->answer, call->core.clock.wall()) {}

  void read() {
    call->core.space(*call->resource)
        .list(selection.prefix, after, revision, 0, [self = shared_from_this()](Result<store::Page> p) {
          if (!p) return self->fail(status::from_error(p.error()));
          self->revision = p->revision;
          self->page = std::move(*p);
          self->next = 0;
          self->step();
        });
  }

  void step() {
    while (next < page.items.size()) {
      const store::Item& item = page.items[next++];
      after = item.key;
      if (selection.matches(*item.value)) return remove(item);
    }
    if (page.more) return read();
    call->respond(200, encoder.list_head() + text + encoder.list_tail({revision, "", -1}),
                  encoder.content_type());
  }

  void remove(const store::Item& item) {
    if (text.size() < kMaxAnswer) {
      if (!text.empty()) text += ',';
      encoder.item(text, *item.value, item.mod_revision);
    }
    run_delete(call->core, *call->resource, item.key, options, call->term,
               [self = shared_from_this()](Outcome<Deletion> d) {
                 // Gone meanwhile, or held by a rule that came up meanwhile: as wanted, or told.
                 if (!d && d.error().code != 404) return self->fail(d.error());
                 if (d && d->committed) self->began = true;
                 self->call->core.loop.defer([self] { self->step(); });
               });
  }

  // A client repeats what it is told to try again: that is not for a request of which a part was done.
  void fail(Status s) {
    if (began && s.code == 503) s = status::timeout(s.message + "; a part of the objects was deleted");
    call->fail(s);
  }
};

}  // namespace

void delete_collection(CallPtr call) {
  const schema::Resource& r = *call->resource;
  if (r.namespaced() && call->info.ns.empty()) return call->fail(status::method_not_allowed());
  Outcome<DeleteOptions> options = delete_options(*call);
  if (!options) return call->fail(options.error());
  Outcome<ListOptions> list = read_list_options(call->query(), false);
  if (!list) return call->fail(list.error());
  Outcome<Selection> selection = read_selection(*call);
  if (!selection) return call->fail(selection.error());
  std::make_shared<Sweep>(std::move(call), std::move(*selection), std::move(*options))->read();
}

}  // namespace limpet::api
