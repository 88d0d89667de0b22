// Events live in memory; the last warnings among them are kept over restarts, since a technician comes after
// the fact.
//
// Saved at a clean stop, and at most every ten minutes while they change: an idle device writes nothing.
#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"
#include "daemon/parts.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr const char* blob_name = "warning-events";
constexpr const char* prefix = "events/";
constexpr size_t most_events = 200;
constexpr size_t most_bytes = 900 << 10;  // a blob of the store holds 1 MiB
constexpr int64_t every_ms = 600'000;

class EventsPart final : public Part {
 public:
  explicit EventsPart(Device& device) : device_(device), timer_(device.loop, "events-save") {}
  const char* name() const override { return "events"; }

  Result<> start() override {
    device_.store->load(blob_name, [this](Result<std::optional<std::string>> blob) {
      if (blob && *blob) restore(**blob);
    });
    timer_.repeat(every_ms, [this] { save([] {}); });
    return {};
  }

  void stop(loop::Task done) override {
    timer_.stop();
    save(std::move(done));
  }

 private:
  void restore(const std::string& blob) {
    saved_ = sha256_hex(blob);
    json::Cursor(blob).each([this](std::string_view, json::Cursor entry) {
      store::Txn txn;
      txn.ops.push_back({store::Op::Type::put, entry["key"].str(), std::string(entry["object"].raw()), 0});
      device_.store->transient().commit(std::move(txn), [](Result<store::Committed>) {});
      return true;
    });
  }

  void save(loop::Task done) {
    auto found = std::make_shared<std::vector<store::Item>>();
    collect("", found, [this, found, done = std::move(done)] {
      std::string text = render(*found);
      std::string sum = sha256_hex(text);
      if (sum == saved_ || (saved_.empty() && found->empty())) return done();
      saved_ = std::move(sum);
      device_.store->save(blob_name, std::move(text), [done](Result<> r) {
        if (!r) log::warning("the last warnings are not kept over a restart", {{"error", r.error()}});
        done();
      });
    });
  }

  // Page by page, warnings only.
  void collect(const std::string& after, std::shared_ptr<std::vector<store::Item>> found, loop::Task done) {
    device_.store->transient().list(
        prefix, after, 0, 0, [this, found, done = std::move(done)](Result<store::Page> page) {
          if (!page) return done();
          for (store::Item& item : page->items) {
            if (json::Cursor(*item.value)["type"].str_equals("Warning")) found->push_back(item);
          }
          if (!page->more || page->items.empty()) return done();
          device_.loop.defer(
              [this, last = page->items.back().key, found, done] { collect(last, found, done); });
        });
  }

  static std::string render(std::vector<store::Item>& items) {
    std::sort(items.begin(), items.end(),
              [](const auto& a, const auto& b) { return a.mod_revision > b.mod_revision; });
    json::Writer w;
    w.begin_array();
    for (size_t i = 0; i < items.size() && i < most_events && w.text().size() < most_bytes; i++) {
      w.begin_object().field("key", items[i].key).key("object").raw(*items[i].value).end_object();
    }
    w.end_array();
    return w.take();
  }

  Device& device_;
  loop::Timer timer_;
  std::string saved_;  // of the blob in the store
};

}  // namespace

std::unique_ptr<Part> make_events_part(Device& device) { return std::make_unique<EventsPart>(device); }

}  // namespace limpet::daemon
