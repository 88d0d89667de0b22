// Backups: what `limpet backup` reads, and those by the clock. One at a time.
#include "daemon/backup_schedule.h"
#include "daemon/backup_source.h"
#include "daemon/leadership.h"
#include "daemon/local_api.h"
#include "daemon/parts.h"

namespace limpet::daemon {
namespace {

constexpr size_t most_queued = 256u << 10;

// A backup on its way to who asked for it. It is not sealed here: the passphrase stays with the command, and
// the socket is root's.
class Sending {
 public:
  Sending(Device& device, http::ExchangePtr exchange, loop::Task over)
      : loop_(device.loop), exchange_(std::move(exchange)), source_(device), over_(std::move(over)) {
    exchange_->on_gone([this] { over_(); });
    exchange_->on_drain([this] {
      if (std::exchange(waits_, false)) go_on();
    });
  }
  ~Sending() {
    if (!ended_) exchange_->abort();
  }
  Sending(const Sending&) = delete;

  void go_on() {
    source_.next([this](Result<std::string> text) {
      if (!text) return failed(text.error());
      if (!std::exchange(begun_, true)) {
        http::Headers headers;
        headers.set("Content-Type", "application/octet-stream");
        exchange_->begin(200, std::move(headers));
      }
      if (text->empty()) {
        ended_ = true;
        exchange_->end();
        return over_();
      }
      exchange_->write(*text);
      waits_ = exchange_->write_queue_size() > most_queued;
      if (!waits_) later_.start(0, [this] { go_on(); });
    });
  }

 private:
  void failed(const Error& error) {
    if (!begun_) {
      ended_ = true;
      exchange_->respond(local_failure(503, "ServiceUnavailable", error.message));
    }
    over_();
  }

  loop::Loop& loop_;
  http::ExchangePtr exchange_;
  BackupSource source_;
  loop::Task over_;  // this is to go
  loop::Timer later_{loop_, "backup-send"};
  bool begun_ = false, waits_ = false, ended_ = false;
};

class BackupPart final : public Part {
 public:
  explicit BackupPart(Device& device) : device_(device) {}
  const char* name() const override { return "backup"; }

  Result<> start() override {
    schedule_ = std::make_unique<BackupSchedule>(device_, [this] { return sending_ != nullptr; });
    work_ = device_.leadership->follow(
        {[this](uint64_t) { schedule_->lead(true); }, [this] { schedule_->lead(false); }});
    device_.local->serve(
        "backup", [this](http::ExchangePtr e) { serve(std::move(e)); }, LocalApi::Access::root);
    device_.local->describe("backup", [this](json::Writer& w) { schedule_->describe(w); });
    return {};
  }

  void stop(loop::Task done) override {
    device_.local->serve("backup", {});
    device_.local->describe("backup", {});
    sending_.reset();
    work_.reset();
    schedule_.reset();
    done();
  }

  void reload(const Config& before) override {
    if (before.backup != device_.config.backup) schedule_->configure();
  }

 private:
  void serve(http::ExchangePtr exchange) {
    if (exchange->request().method != "POST")
      return exchange->respond(local_failure(405, "MethodNotAllowed", "a backup is asked for with POST"));
    if (sending_ || schedule_->running()) {
      return exchange->respond(
          local_failure(503, "ServiceUnavailable", "another backup is under way; try again"));
    }
    sending_ = std::make_shared<Sending>(device_, std::move(exchange), [this] {
      // Not from inside of its own callbacks.
      device_.loop.defer([this, weak = std::weak_ptr<Sending>(sending_)] {
        if (const auto gone = weak.lock(); gone && gone == sending_) sending_.reset();
      });
    });
    sending_->go_on();
  }

  Device& device_;
  std::unique_ptr<BackupSchedule> schedule_;
  std::shared_ptr<Sending> sending_;
  std::unique_ptr<Leadership::Follower> work_;  // ends before the schedule that it works on
};

}  // namespace

std::unique_ptr<Part> make_backup_part(Device& device) { return std::make_unique<BackupPart>(device); }

}  // namespace limpet::daemon
