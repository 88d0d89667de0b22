#include "daemon/cluster_link.h"

#include <charconv>

#include "api/forward_http.h"

namespace limpet::daemon {
namespace {

constexpr int hex = 16;
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
  origin.host = strf("%llx", static_cast<unsigned long long>(member));
  return origin;
}

std::unique_ptr<http::Dialer::Dial> MemberDialer::connect(loop::Loop&, const http::Origin& where, int64_t,
                                                          Done done) {
  peer::Target target;
  target.kind = kind_;
  (void)std::from_chars(where.host.data(), where.host.data() + where.host.size(), target.member, hex);
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

ClusterLink::ClusterLink(loop::Loop& loop, store::Consensus& group, peer::Peers& peers)
    : group_(group),
      standing_(group.status().standing),
      dialer_(peers, peer::Kind::api),
      client_(loop, dialer_, client_options()),
      subscription_(group.on_standing([this](const raft::Standing& now) {
        standing_ = now;
        if (on_change_) on_change_();
      })) {}

bool ClusterLink::leading() const { return standing_.role == raft::Role::leader; }

std::unique_ptr<api::Forwarding> ClusterLink::forward(http::Request request, api::ForwardEvents events) {
  return api::forward_over_http(client_, MemberDialer::origin(standing_.leader), std::move(request),
                                std::move(events), answer_timeout_ms);
}

}  // namespace limpet::daemon
