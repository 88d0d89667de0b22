#include "daemon/cluster_link.h"

#include <algorithm>
#include <utility>

#include "api/forward_http.h"
#include "cluster/device.h"

namespace limpet::daemon {
namespace {

// Longer than the API's own limit for a request, so that the leader's answer comes first.
constexpr int64_t answer_timeout_ms = 70'000;

http::ClientOptions client_options() {
  http::ClientOptions options;
  options.idle_timeout_ms = 0;
  options.max_idle_connections = 2;  // each costs as much as a client's on both sides
  return options;
}

class PeerDial final : public http::Dialer::Dial {
 public:
  explicit PeerDial(std::unique_ptr<peer::Dial> dial) : dial_(std::move(dial)) {}

 private:
  std::unique_ptr<peer::Dial> dial_;
};

}  // namespace

http::Origin MemberDialer::origin(raft::MemberId member) {
  http::Origin origin;
  origin.host = cluster::member_text(member);
  return origin;
}

std::unique_ptr<http::Dialer::Dial> MemberDialer::connect(loop::Loop&, const http::Origin& where, int64_t,
                                                          Done done) {
  peer::Target target;
  target.kind = kind_;
  target.member = cluster::parse_member(where.host);
  return std::make_unique<PeerDial>(
      peers_.dial(std::move(target), [done = std::move(done)](Result<peer::Dialled> dialled) {
        if (!dialled) return done(std::unexpected(dialled.error()));
        done(std::move(dialled->stream));
      }));
}

std::unique_ptr<http::Dialer::Dial> MemberDialer::secure(loop::Loop& loop, std::unique_ptr<loop::Stream>,
                                                         const http::Origin&, Done done) {
  loop.defer([done = std::move(done)] {
    done(fail(Errc::unsupported, "a connection to another server is encrypted already"));
  });
  return nullptr;
}

// A request at a member. When another one leads, nobody waits for it any longer, and when none does not for
// long: it may hang or be cut off.
class ClusterLink::Tracked final : public api::Forwarding {
 public:
  Tracked(ClusterLink& owner, raft::MemberId at, api::ForwardEvents events)
      : owner_(owner), at_(at), state_(std::make_shared<State>(State{std::move(events)})) {
    owner_.under_way_.push_front(this);
    place_ = owner_.under_way_.begin();
  }
  ~Tracked() override {
    owner_.under_way_.erase(place_);
    state_->events = {};
  }

  void send(http::Client& client, http::Request request) {
    const auto state = state_;
    forwarding_ = api::forward_over_http(client, MemberDialer::origin(at_), std::move(request),
                                         {.on_head =
                                              [state](int status, const http::Headers& headers) {
                                                state->answering = true;
                                                if (state->events.on_head)
                                                  state->events.on_head(status, headers);
                                              },
                                          .on_body =
                                              [state](std::string_view bytes) {
                                                if (state->events.on_body) state->events.on_body(bytes);
                                              },
                                          .on_end = [state](Result<> end) { state->end(std::move(end)); }},
                                         answer_timeout_ms);
  }
  void pause(bool paused) override {
    if (forwarding_) forwarding_->pause(paused);
  }
  raft::MemberId at() const { return at_; }
  bool answering() const { return state_->answering; }
  bool given_up() const { return given_up_; }
  void give_up(const char* why) {
    given_up_ = true;
    forwarding_.reset();
    const auto state = state_;
    state->end(fail(Errc::timeout, why));
  }

 private:
  struct State {
    api::ForwardEvents events;
    bool answering = false;
    void end(Result<> result) {
      if (const auto f = std::exchange(events, {}).on_end) f(std::move(result));
    }
  };
  ClusterLink& owner_;
  const raft::MemberId at_;
  std::shared_ptr<State> state_;
  std::list<Tracked*>::iterator place_;
  std::unique_ptr<api::Forwarding> forwarding_;
  bool given_up_ = false;
};

ClusterLink::ClusterLink(loop::Loop& loop, store::Consensus& group, peer::Peers& peers, int64_t patience_ms)
    : loop_(loop),
      group_(group),
      standing_(group.status().standing),
      patience_ms_(patience_ms),
      leaderless_(loop, "leaderless"),
      dialer_(peers, peer::Kind::api),
      client_(loop, dialer_, client_options()),
      subscription_(group.on_standing([this](const raft::Standing& now) { changed(now); })) {}

void ClusterLink::changed(const raft::Standing& now) {
  standing_ = now;
  if (on_change_) on_change_();
  if (standing_.leader != 0) leaderless_.stop();
  if (under_way_.empty()) return;
  if (standing_.leader == 0) {
    if (leaderless_.active()) return;
    return leaderless_.start(patience_ms_, [this] {
      give_up([](const Tracked& t) { return !t.answering(); },
              "no server is known to lead now; nobody knows whether the one before did it");
    });
  }
  loop_.defer([this, here = std::weak_ptr<char>(alive_)] {
    if (here.expired() || standing_.leader == 0) return;
    give_up([this](const Tracked& t) { return t.at() != standing_.leader; },
            "another server leads now; nobody knows whether the one before did it");
  });
}

void ClusterLink::give_up(const std::function<bool(const Tracked&)>& which, const char* why) {
  // Ending one may end others.
  const auto next = [&] {
    return std::find_if(under_way_.begin(), under_way_.end(),
                        [&](const Tracked* t) { return !t->given_up() && which(*t); });
  };
  for (auto it = next(); it != under_way_.end(); it = next()) (*it)->give_up(why);
}

bool ClusterLink::leading() const { return standing_.role == raft::Role::leader; }

std::unique_ptr<api::Forwarding> ClusterLink::forward(http::Request request, api::ForwardEvents events) {
  auto tracked = std::make_unique<Tracked>(*this, standing_.leader, std::move(events));
  tracked->send(client_, std::move(request));
  return tracked;
}

}  // namespace limpet::daemon
