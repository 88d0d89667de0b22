#include "daemon/agent_streams.h"

#include <utility>

#include "base/log.h"

namespace limpet::daemon {

struct AgentStreams::Agent {
  std::unique_ptr<peer::Control> control;
  bool hears_authorities = false;
};

// One asked for. It takes itself out of the table.
class AgentStreams::Waiting final : public http::Dialer::Dial {
 public:
  Waiting(AgentStreams& owner, std::string agent, uint64_t id, Done done)
      : owner_(&owner),
        agent_(std::move(agent)),
        id_(id),
        done_(std::move(done)),
        limit_(owner.loop_, "agent-stream") {
    owner_->waiting_[id_] = this;
  }
  ~Waiting() override { leave(); }

  const std::string& agent() const { return agent_; }
  void fail_after(int64_t ms, Error why) {
    limit_.start(ms, [this, why = std::move(why)] { finish(std::unexpected(why)); });
  }
  void finish(Result<std::unique_ptr<loop::Stream>> r) {
    leave();
    limit_.stop();
    const auto done = std::exchange(done_, nullptr);
    if (done) done(std::move(r));  // may destroy this
  }
  // The owner goes first.
  void orphan() { owner_ = nullptr; }

 private:
  void leave() {
    if (owner_) owner_->waiting_.erase(id_);
    owner_ = nullptr;
  }

  AgentStreams* owner_;
  std::string agent_;
  uint64_t id_;
  Done done_;
  loop::Timer limit_;
};

AgentStreams::AgentStreams(loop::Loop& loop, Random& random, Options options)
    : loop_(loop), random_(random), options_(options) {}

AgentStreams::~AgentStreams() {
  for (const auto& [id, waiting] : waiting_) waiting->orphan();
}

void AgentStreams::connected(const std::string& agent, std::unique_ptr<loop::Stream> stream,
                             uint64_t version) {
  if (holds(agent)) gone(agent, agents_[agent]->control.get(), {Errc::cancelled, "it connected anew", 0});
  auto& slot = agents_[agent] = std::make_unique<Agent>();
  // An agent has nothing to say but pings, which Control answers.
  peer::Control::Events events{
      .on_message = [](const peer::ControlMessage&) {},
      .on_end = [this, agent, who = slot.get()](Error e) { gone(agent, who->control.get(), e); }};
  slot->control =
      std::make_unique<peer::Control>(loop_, std::move(stream), options_.timing, std::move(events));
  slot->hears_authorities = version >= peer::kAuthoritiesVersion;
  log::info("an agent is connected", {{"agent", agent}});
  tell(agent, peer::Servers{roll_});
  tell_authorities(agent);
}

void AgentStreams::tell(const std::string& agent, const peer::ControlMessage& message) {
  const auto it = agents_.find(agent);
  if (it == agents_.end()) return;
  peer::Control* control = it->second->control.get();
  if (const auto sent = control->send(message); !sent) gone(agent, control, sent.error());
}

void AgentStreams::tell_authorities(const std::string& agent) {
  const auto it = agents_.find(agent);
  if (it != agents_.end() && it->second->hears_authorities && !authorities_.empty())
    tell(agent, peer::Authorities{authorities_});
}

void AgentStreams::gone(const std::string& agent, const peer::Control* control, const Error& why) {
  const auto it = agents_.find(agent);
  if (it == agents_.end() || it->second->control.get() != control) return;
  log::info("an agent is not connected any more", {{"agent", agent}, {"error", why}});
  const auto last = agents_.extract(it);  // a callback of its Control may be on the stack, which allows this
  fail_waiting(agent, {Errc::unavailable, "its connection to the cluster broke: " + why.message, 0});
}

void AgentStreams::fail_waiting(const std::string& agent, const Error& why) {
  for (const auto& [id, waiting] : waiting_) {
    if (waiting->agent() == agent) waiting->fail_after(0, why);
  }
}

bool AgentStreams::expects(const std::string& agent, uint64_t id) const {
  const auto it = waiting_.find(id);
  return it != waiting_.end() && it->second->agent() == agent;
}

void AgentStreams::arrived(const std::string& agent, uint64_t id, std::unique_ptr<loop::Stream> stream) {
  if (!expects(agent, id)) return;  // closes it
  waiting_[id]->finish(std::move(stream));
}

void AgentStreams::set_roll(std::vector<peer::ServerEntry> servers) {
  roll_ = std::move(servers);
  for (const std::string& agent : agents()) tell(agent, peer::Servers{roll_});
}

void AgentStreams::set_authorities(std::vector<std::string> keys) {
  if (keys.size() > peer::kMaxAuthorities) keys.resize(peer::kMaxAuthorities);
  if (authorities_ == keys) return;
  authorities_ = std::move(keys);
  for (const std::string& agent : agents()) tell_authorities(agent);
}

std::vector<std::string> AgentStreams::agents() const {
  std::vector<std::string> names;
  for (const auto& [name, agent] : agents_) names.push_back(name);
  return names;
}

std::unique_ptr<http::Dialer::Dial> AgentStreams::open(const std::string& agent, Done done) {
  uint64_t id = 0;
  while (id == 0 || waiting_.contains(id)) id = random_.u64();
  size_t waits = 0;
  for (const auto& [other, w] : waiting_) waits += w->agent() == agent;
  auto waiting = std::make_unique<Waiting>(*this, agent, id, std::move(done));
  const auto it = agents_.find(agent);
  if (it == agents_.end()) {
    waiting->fail_after(0, {Errc::not_found, "it is not connected to this server", 0});
  } else if (waits >= options_.max_waiting) {
    waiting->fail_after(0, {Errc::exhausted, "too many streams were asked of it and have not come", 0});
  } else if (const auto sent = it->second->control->send(peer::OpenStream{id}); !sent) {
    waiting->fail_after(0, sent.error());
  } else {
    waiting->fail_after(options_.open_ms,
                        {Errc::timeout, "it does not open the stream that it was asked for", 0});
  }
  return waiting;
}

}  // namespace limpet::daemon
