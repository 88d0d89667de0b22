#include "daemon/mirror.h"

#include <utility>

namespace limpet::daemon {
namespace {
constexpr int64_t retry_ms = 500;
}  // namespace

struct Mirror::Impl : std::enable_shared_from_this<Impl> {
  loop::Loop& loop;
  store::Space& space;
  const std::string prefix;
  loop::Task changed;
  loop::Timer retry;
  std::unique_ptr<store::Watch> watch;
  std::map<std::string, store::Item> items, listing;
  bool known = false;
  bool planned = false;

  Impl(loop::Loop& l, store::Space& s, std::string p, loop::Task c)
      : loop(l), space(s), prefix(std::move(p)), changed(std::move(c)), retry(l, "mirror") {}

  void list() {
    watch.reset();
    listing.clear();
    page("", 0);
  }

  void page(const std::string& after, store::Revision revision) {
    space.list(prefix, after, revision, 0, [self = weak_from_this()](Result<store::Page> page) {
      if (const auto here = self.lock()) here->listed(std::move(page));
    });
  }

  void listed(Result<store::Page> page) {
    if (!page) return later();
    std::string last;
    for (store::Item& item : page->items) {
      last = item.key;
      listing[item.key] = std::move(item);
    }
    if (page->more && !last.empty()) return this->page(last, page->revision);
    store::Watch::Sink sink;
    sink.on_events = [this](std::span<const store::Event> events) { take(events); };
    sink.on_lost = [this](Error) {
      known = false;
      later();
    };
    auto made = space.watch(prefix, page->revision, std::move(sink));
    if (!made) return later();
    watch = std::move(*made);
    items = std::move(listing);
    known = true;
    tell();
  }

  void take(std::span<const store::Event> events) {
    for (const store::Event& e : events) {
      if (e.type == store::Event::Type::deleted) {
        items.erase(e.key);
      } else {
        items[e.key] = {e.key, 0, e.revision, e.value};
      }
    }
    tell();
  }

  void later() {
    retry.start(retry_ms, [this] { list(); });
  }

  void tell() {
    if (std::exchange(planned, true)) return;
    loop.defer([self = weak_from_this()] {
      const auto here = self.lock();
      if (!here) return;
      here->planned = false;
      if (here->changed) here->changed();
    });
  }
};

Mirror::Mirror(loop::Loop& loop, store::Space& space, std::string prefix, loop::Task changed)
    : impl_(std::make_shared<Impl>(loop, space, std::move(prefix), std::move(changed))) {
  impl_->list();
}

Mirror::~Mirror() {
  impl_->changed = nullptr;
  impl_->watch.reset();
  impl_->retry.stop();
}

bool Mirror::known() const { return impl_->known; }
const std::map<std::string, store::Item>& Mirror::items() const { return impl_->items; }

}  // namespace limpet::daemon
