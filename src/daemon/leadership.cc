#include "daemon/leadership.h"

#include <utility>
#include <vector>

namespace limpet::daemon {
namespace {
constexpr int64_t retry_ms = 200;
}  // namespace

class Leadership::Handle final : public Follower {
 public:
  Handle(std::weak_ptr<char> alive, Leadership& owner, std::shared_ptr<Entry> entry)
      : alive_(std::move(alive)), owner_(owner), entry_(std::move(entry)) {}
  ~Handle() override {
    if (alive_.expired()) return;
    owner_.entries_.remove(entry_);
    if (std::exchange(entry_->working, false)) entry_->work.end();
    entry_->work = {};  // a begin() that was on its way
  }

 private:
  std::weak_ptr<char> alive_;
  Leadership& owner_;
  std::shared_ptr<Entry> entry_;
};

Leadership::Leadership(loop::Loop& loop, store::Consensus& group)
    : loop_(loop), group_(group), retry_(loop, "leadership") {
  // The store says so in the middle of its own work.
  subscription_ = group_.on_standing([this](const raft::Standing&) {
    if (std::exchange(looks_, true)) return;
    loop_.defer([this, here = std::weak_ptr<char>(alive_)] {
      if (!here.expired()) look();
    });
  });
  look();
}

Leadership::~Leadership() {
  subscription_.reset();
  end_all();
}

std::unique_ptr<Leadership::Follower> Leadership::follow(Work work) {
  auto entry = std::make_shared<Entry>(Entry{std::move(work), false});
  entries_.push_back(entry);
  if (settled_ != 0) begin(entry);
  return std::make_unique<Handle>(alive_, *this, std::move(entry));
}

void Leadership::look() {
  looks_ = false;
  const raft::Standing now = group_.status().standing;
  const uint64_t leads = now.role == raft::Role::leader ? now.term : 0;
  if (leads == leads_) return;
  end_all();
  leads_ = leads;
  if (leads_ != 0) settle();
}

// Others may have acknowledged what is not applied here yet.
void Leadership::settle() {
  group_.barrier([this, here = std::weak_ptr<char>(alive_), term = leads_](Result<> confirmed) {
    if (here.expired() || leads_ != term || settled_ != 0) return;
    if (!confirmed) return retry_.start(retry_ms, [this] { settle(); });
    settled_ = term;
    for (const auto& entry : entries_) begin(entry);
  });
}

void Leadership::begin(const std::shared_ptr<Entry>& entry) {
  loop_.defer([this, here = std::weak_ptr<char>(alive_), entry, term = settled_] {
    if (here.expired() || settled_ != term || entry->working || !entry->work.begin) return;
    entry->working = true;
    entry->work.begin(term);
  });
}

void Leadership::end_all() {
  retry_.stop();
  leads_ = settled_ = 0;
  const std::vector<std::shared_ptr<Entry>> all(entries_.begin(), entries_.end());
  for (const auto& entry : all) {
    if (std::exchange(entry->working, false)) entry->work.end();
  }
}

}  // namespace limpet::daemon
