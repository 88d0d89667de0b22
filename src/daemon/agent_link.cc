#include "daemon/agent_link.h"

#include "base/log.h"

namespace limpet::daemon {

struct AgentLink::Opening {
  Dialling dial;
};

AgentLink::AgentLink(loop::Loop& loop, Random& random, peer::ControlOptions timing, Hooks hooks)
    : loop_(loop),
      timing_(timing),
      hooks_(std::move(hooks)),
      choice_(random),
      changed_ms_(loop.now_ms()),
      wait_(loop, "agent-link") {}

AgentLink::~AgentLink() = default;

void AgentLink::set_servers(std::vector<peer::ServerEntry> servers) {
  take_roll(servers);
  if (!control_ && !dial_ && !renewal_ && !wait_.active()) wait_.start(0, [this] { connect(); });
}

// The one in use stays in use when it has left the roll: it is the one that says so, and its going ends the
// connection.
void AgentLink::take_roll(const std::vector<peer::ServerEntry>& servers) {
  if (servers.empty()) return;  // nobody could be reached any more
  entries_.clear();
  std::vector<client::Server> names;
  for (const peer::ServerEntry& s : servers) {
    entries_[s.name] = s;
    names.push_back(key(s.name));
  }
  choice_.replace({}, names);
}

void AgentLink::connect() {
  const auto choice = choice_.choose({}, loop_.now_ms());
  if (!choice) return;
  if (choice->wait_ms > 0) return wait_.start(choice->wait_ms, [this] { connect(); });
  current_ = entries_.at(choice->server.host);
  dial_ = hooks_.dial(current_, peer::Kind::agent, 0, [this](Result<std::unique_ptr<loop::Stream>> stream) {
    const Dialling over = std::move(dial_);  // it calls this
    stream ? connected(std::move(*stream)) : lost(std::move(stream).error());
  });
}

void AgentLink::connected(std::unique_ptr<loop::Stream> stream) {
  control_ = std::make_unique<peer::Control>(
      loop_, std::move(stream), timing_,
      peer::Control::Events{[this](const peer::ControlMessage& m) { received(m); },
                            [this](Error e) { lost(std::move(e)); }});
}

void AgentLink::renew() {
  if (!control_) return;
  renewal_ =
      hooks_.dial(current_, peer::Kind::agent, 0, [this](Result<std::unique_ptr<loop::Stream>> stream) {
        const Dialling over = std::move(renewal_);  // it calls this
        if (stream) return connected(std::move(*stream));
        if (!control_) lost(std::move(stream).error());
      });
}

void AgentLink::lost(Error error) {
  control_.reset();
  if (renewal_) return;  // the server may have let go of the one before when it took the new one
  // Once when it begins: a device may be cut off for days.
  if (last_error_.empty() || !up_.empty()) {
    log::notice("the connection to a server that holds this agent is down",
                {{"server", current_.name}, {"error", error}});
  }
  last_error_ = current_.name + ": " + error.message;
  if (!std::exchange(up_, "").empty()) changed_ms_ = loop_.now_ms();
  ++counts_.failures;
  choice_.failed(key(current_.name), loop_.now_ms());
  wait_.start(0, [this] { connect(); });
}

void AgentLink::received(const peer::ControlMessage& message) {
  if (up_.empty()) {
    up_ = current_.name;
    changed_ms_ = loop_.now_ms();
    ++counts_.connects;
    last_error_.clear();
    choice_.worked(key(up_));
    log::notice("a server holds this agent", {{"server", up_}});
  }
  if (const auto* open = std::get_if<peer::OpenStream>(&message)) return open_stream(open->id);
  if (const auto* trusted = std::get_if<peer::Authorities>(&message)) {
    if (hooks_.on_authorities) hooks_.on_authorities(trusted->keys);
    return;
  }
  if (const auto* roll = std::get_if<peer::Servers>(&message)) {
    take_roll(roll->servers);
    hooks_.on_roll(roll->servers);
  }
}

void AgentLink::open_stream(uint64_t id) {
  if (opening_.size() >= max_dialling || opening_.contains(id)) {
    return log::warning("a stream that a server asked for is not opened: too many are on their way",
                        {{"server", current_.name}});
  }
  auto opening = std::make_shared<Opening>();
  opening_[id] = opening;
  opening->dial =
      hooks_.dial(current_, peer::Kind::stream, id, [this, id](Result<std::unique_ptr<loop::Stream>> stream) {
        const auto keep = opening_.extract(id);  // its dial calls this
        ++(stream ? counts_.streams : counts_.stream_failures);
        if (stream) return hooks_.on_stream(std::move(*stream));
        log::notice("a stream that a server asked for cannot be opened",
                    {{"server", current_.name}, {"error", stream.error()}});
      });
}

}  // namespace limpet::daemon
