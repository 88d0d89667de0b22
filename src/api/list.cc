// Lists: short reads at one revision, streamed page by page, so that neither memory nor the loop feels a long
// one.
#include <utility>

#include "api/encoder.h"
#include "api/fresh.h"
#include "api/list_options.h"
#include "api/object.h"
#include "api/selection.h"
#include "api/verbs.h"

namespace limpet::api {
namespace {

constexpr size_t kPage = 200;
constexpr size_t kQueueBound = 256 * 1024;

constexpr const char* kStaleToken =
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list.";

class Lister : public Session {
 public:
  Lister(CallPtr call, Selection selection, ListOptions options)
      : call_(std::move(call)),
        selection_(std::move(selection)),
        options_(std::move(options)),
        encoder_(*call_->resource, call_->answer, call_->core.clock.wall()) {}

  void start() {
    if (options_.match == Match::exact ||
        (options_.match == Match::unset && options_.version && options_.limit)) {
      revision_ = options_.version;
    }
    next();
  }

  void go_on_from(Position position) {
    revision_ = position.revision;
    after_ = std::move(position.after);
    next();
  }

  // The memory that is listed is that of the leader.
  void leadership_changed() override {
    if (call_->resource->storage() == schema::Storage::transient && !call_->core.leads()) stop();
  }

  void stop() override {
    if (over_) return;
    if (call_->answered()) call_->exchange().abort();
    done();
  }

 private:
  store::Space& space() { return call_->core.space(*call_->resource); }

  void done() {
    over_ = true;
    call_->core.finish(this);
  }

  void fail(const Status& s) {
    if (streaming_) {
      call_->exchange().abort();  // the client must see that the list is incomplete
    } else {
      call_->fail(s);
    }
    done();
  }

  void next() {
    std::weak_ptr<Session> weak = weak_from_this();
    size_t want = kPage;
    // With nothing to filter, the store can stop where the client's page ends.
    if (options_.limit && selection_.everything()) {
      want = std::min<size_t>(want, static_cast<size_t>(options_.limit - sent_));
    }
    space().list(selection_.prefix, after_, revision_, want, [weak, this](Result<store::Page> page) {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) on_page(std::move(page));
    });
  }

  void on_page(Result<store::Page> page) {
    if (!page) return on_error(page.error());
    if (call_->gone()) return done();
    revision_ = page->revision;
    size_t used = 0;
    for (const store::Item& item : page->items) {
      ++used;
      after_ = item.key;
      if (!selection_.matches(*item.value)) continue;
      if (sent_++) text_ += ',';
      encoder_.item(text_, *item.value, item.mod_revision);
      if (options_.limit && sent_ >= options_.limit) break;
    }
    bool more = page->more || used < page->items.size();
    bool full = options_.limit && sent_ >= options_.limit;
    if (!more || full) {
      ListMeta meta;
      meta.version = revision_;
      if (more) {
        meta.continue_token = encode_continue({revision_, after_}, selection_.fingerprint());
        if (selection_.everything()) {
          meta.remaining = page->remaining + static_cast<int64_t>(page->items.size() - used);
        }
      }
      return complete(meta);
    }
    flush();
  }

  void on_error(const Error& e) {
    if (e.code == Errc::expired) {
      Status s = status::expired(options_.continue_token.empty() ? e.message : kStaleToken);
      if (!options_.continue_token.empty()) {
        s.continue_token = encode_continue({0, after_}, selection_.fingerprint());
      }
      return fail(s);
    }
    fail(status::from_error(e));
  }

  void complete(const ListMeta& meta) {
    std::string tail = encoder_.list_tail(meta);
    if (streaming_) {
      call_->exchange().write(text_ + tail);
      call_->exchange().end();
    } else {
      call_->respond(200, encoder_.list_head() + text_ + tail, encoder_.content_type());
    }
    done();
  }

  // Sends what is there and goes on when the loop (and the client) had a turn. One reader at a time: a list
  // that waits for the client is stalled, and only then does an empty queue start it again. Exchanges tell of
  // that as often as it happens, also while a page is being read.
  void flush() {
    if (!streaming_ && !begin()) return done();
    if (!text_.empty()) call_->exchange().write(text_);
    text_.clear();
    stalled_ = call_->exchange().write_queue_size() > kQueueBound;
    if (stalled_) return;  // drained() goes on
    std::weak_ptr<Session> weak = weak_from_this();
    call_->core.loop.defer([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) go_on();
    });
  }

  bool begin() {
    if (!call_->begin(200, encoder_.content_type())) return false;
    streaming_ = true;
    std::weak_ptr<Session> weak = weak_from_this();
    call_->on_gone([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_) done();
    });
    call_->exchange().on_drain([weak, this] {
      if (std::shared_ptr<Session> keep = weak.lock(); keep && !over_ && std::exchange(stalled_, false))
        go_on();
    });
    call_->exchange().write(encoder_.list_head());
    return true;
  }

  void go_on() { call_->gone() ? done() : next(); }

  CallPtr call_;
  Selection selection_;
  ListOptions options_;
  Encoder encoder_;
  store::Revision revision_ = 0;
  std::string after_;
  std::string text_;
  int64_t sent_ = 0;
  bool streaming_ = false, stalled_ = false, over_ = false;
};

}  // namespace

void list_objects(CallPtr call) {
  Outcome<ListOptions> options = read_list_options(call->query(), false);
  if (!options) return call->fail(options.error());
  Outcome<Selection> selection = read_selection(*call);
  if (!selection) return call->fail(selection.error());
  std::optional<Position> position;
  if (!options->continue_token.empty()) {
    Outcome<Position> p =
        decode_continue(options->continue_token, selection->fingerprint(), selection->prefix);
    if (!p) return call->fail(p.error());
    position = std::move(*p);
  }
  const bool given = position || options->version_given;
  const store::Revision version = position ? position->revision : options->version;
  when_fresh(call, given, version,
             [call, position, s = std::move(*selection), o = std::move(*options)]() mutable {
               auto lister = std::make_shared<Lister>(call, std::move(s), std::move(o));
               call->core.keep(lister);
               position ? lister->go_on_from(std::move(*position)) : lister->start();
             });
}

}  // namespace limpet::api
