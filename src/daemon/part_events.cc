// Events live in memory; the last warnings among them are kept over restarts, since a technician comes after
// the fact.
//
// Saved at a clean stop, and at most every ten minutes while they change: an idle device writes nothing. Of a
// cluster the leader has the events, so it alone saves, before it hands the lead over; and a server that
// begins to lead starts from what it has saved itself. What devices have said again by then stays as it is.
#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"
#include "daemon/leadership.h"
#include "daemon/parts.h"
#include "store/consensus.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr const char* blob_name = "warning-events";
constexpr const char* prefix = "events/";
constexpr size_t most_events = 200;
constexpr size_t most_bytes = 900 << 10;  // a blob of the store holds 1 MiB
constexpr int64_t every_ms = 600'000;
constexpr int64_t leave_ms = 500;

class EventsPart final : public Part {
 public:
  explicit EventsPart(Device& device)
      : device_(device), timer_(device.loop, "events-save"), limit_(device.loop, "events-leave") {}
  const char* name() const override { return "events"; }

  Result<> start() override {
    work_ = device_.leadership->follow({[this](uint64_t term) { lead(term); }, [this] { term_ = 0; }});
    timer_.repeat(every_ms, [this] { save([] {}); });
    hand_over_ = device_.before_stop;
    device_.before_stop = [this](loop::Task done) { leave(std::move(done)); };
    return {};
  }

  void stop(loop::Task done) override {
    timer_.stop();
    limit_.stop();
    device_.before_stop = hand_over_;
    save([this, done = std::move(done)] {
      work_.reset();
      done();
    });
  }

 private:
  void lead(uint64_t term) {
    term_ = term;
    device_.store->load(blob_name, [this, term](Result<std::optional<std::string>> blob) {
      if (blob && *blob && term_ == term) restore(**blob);
    });
  }

  // Before another one leads: what is in memory goes with the lead. Nobody takes it of one that is alone, and
  // it saves once all has stopped.
  void leave(loop::Task done) {
    auto then = std::make_shared<loop::Task>(
        [this, done = std::move(done)] { hand_over_ ? hand_over_(done) : done(); });
    const auto go_on = [then] {
      if (const auto f = std::exchange(*then, nullptr)) f();
    };
    if (device_.store->consensus().alone()) return go_on();
    // A disk that stalls must not keep the lead here.
    limit_.start(leave_ms, go_on);
    save(go_on);
  }

  // One that is there already is newer.
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
    if (term_ == 0) return done();
    auto found = std::make_shared<std::vector<store::Item>>();
    collect("", found, [this, found, done = std::move(done)](bool all) {
      if (!all) return done();  // the lead is lost: what was saved before is more than a part of it
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
  void collect(const std::string& after, std::shared_ptr<std::vector<store::Item>> found,
               std::function<void(bool all)> done) {
    device_.store->transient().list(
        prefix, after, 0, 0, [this, found, done = std::move(done)](Result<store::Page> page) {
          if (!page) return done(false);
          for (store::Item& item : page->items) {
            if (json::Cursor(*item.value)["type"].str_equals("Warning")) found->push_back(item);
          }
          if (!page->more || page->items.empty()) return done(true);
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
  loop::Timer timer_, limit_;
  std::string saved_;  // of the blob in the store
  uint64_t term_ = 0;  // leads in it
  std::function<void(loop::Task)> hand_over_;
  std::unique_ptr<Leadership::Follower> work_;
};

}  // namespace

std::unique_ptr<Part> make_events_part(Device& device) { return std::make_unique<EventsPart>(device); }

}  // namespace limpet::daemon
