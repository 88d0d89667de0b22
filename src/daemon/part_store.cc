// The store: opened first, closed last, and the reason to end when the disk can no longer be trusted.
#include <malloc.h>
#include <sys/stat.h>

#include "base/log.h"
#include "daemon/hand_over.h"
#include "daemon/leadership.h"
#include "daemon/parts.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

constexpr int64_t usual_ms = 60'000;
constexpr int64_t slowest_bytes_per_second = 1 << 20;

class StorePart final : public Part {
 public:
  explicit StorePart(Device& device) : device_(device) {}
  const char* name() const override { return "store"; }

  Result<> start() override {
    store::Options options;
    options.path = device_.paths.store_file;
    options.join_cluster = device_.cluster_id;
    options.join_member = device_.member;
    set_pace(options);
    // After an unclean stop the whole file is read and checked, and cheap flash is slow.
    if (device_.starting_takes)
      device_.starting_takes(usual_ms + store_bytes() * 1000 / slowest_bytes_per_second);
    TRY(store_, store::Store::open(device_.loop, options, device_.clock));
    // Many boards start in 1970: it is hardly earlier than the last thing we wrote.
    device_.clock.remember(store_->last_commit_time());
    report_clock();
    store_->on_fatal([this](Error error) { device_.fatal("store: " + error.message); });
    store_->on_quiet([this] { return_memory(); });
    leadership_ = std::make_unique<Leadership>(device_.loop, store_->consensus());
    device_.store = store_.get();
    device_.leadership = leadership_.get();
    hand_over_ = std::make_unique<HandOver>(device_.loop, store_->consensus());
    device_.before_stop = [this](loop::Task done) { hand_over_->start(std::move(done)); };
    log::info("store opened", {{"file", options.path},
                               {"revision", store_->durable().revision()},
                               {"sqlite", store_->sqlite_version()}});
    return {};
  }

  void stop(loop::Task done) override {
    device_.store = nullptr;
    device_.leadership = nullptr;
    device_.before_stop = nullptr;
    hand_over_.reset();
    leadership_.reset();
    store_->close([this, done] {
      // Not from inside the store's own callback.
      device_.loop.defer([this, done] {
        store_.reset();
        done();
      });
    });
  }

 private:
  // lan: a heartbeat every half second; a follower that hears none for one to two seconds asks for votes.
  // metered: every 10 s, and 20 to 40 s.
  void set_pace(store::Options& options) const {
    options.tick_ms = device_.config.cluster.profile == "metered" ? 5'000 : 250;
    options.heartbeat_ticks = 2;
    options.election_ticks = 4;
  }

  int64_t store_bytes() const {
    int64_t bytes = 0;
    for (const char* suffix : {"", "-wal"}) {
      struct stat st{};
      if (stat((device_.paths.store_file + suffix).c_str(), &st) == 0) bytes += st.st_size;
    }
    return bytes;
  }

  // What work has left free lies in pieces between what stays; on a small device it goes back to the system
  // when work is over. On the pool, since it takes a while.
  void return_memory() {
    if (!trim_.busy()) trim_.start(device_.loop, [] { malloc_trim(0); }, [] {});
  }

  // Which of the two is right is not ours to know; that they differ by years a person should.
  void report_clock() const {
    const WallTime machine = SystemClock::machine(), now = device_.clock.wall();
    const WallTime written{store_->last_commit_time(), 0};
    if (machine.seconds < SystemClock::build_time()) {
      log::warning("the clock reads a time before this program was built, going on from the last write",
                   {{"it_reads", rfc3339(machine)}, {"now", rfc3339(now)}});
    } else if (written.seconds > now.seconds) {
      log::warning("the last write is dated later than the clock reads, believing the clock",
                   {{"written", rfc3339(written)}, {"now", rfc3339(now)}});
    }
  }

  Device& device_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Leadership> leadership_;
  std::unique_ptr<HandOver> hand_over_;
  loop::Work trim_;
};

}  // namespace

std::unique_ptr<Part> make_store_part(Device& device) { return std::make_unique<StorePart>(device); }

}  // namespace limpet::daemon
