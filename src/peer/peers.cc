#include "peer/peers.h"

#include <algorithm>
#include <list>
#include <set>

#include "base/assert.h"
#include "peer/acceptor.h"
#include "peer/address.h"
#include "peer/attempt.h"
#include "peer/awaiting.h"
#include "peer/channel.h"
#include "peer/check.h"
#include "peer/core.h"
#include "peer/link.h"
#include "peer/text.h"

namespace limpet::peer {
namespace {

tls::ClientOptions client_options(const Credentials& credentials, const Timing& timing) {
  tls::ClientOptions options;
  options.ca_pem = credentials.ca_pem;
  options.certificate_pem = credentials.certificate_pem;
  options.key_pem = credentials.key_pem;
  options.alpn_http1 = false;
  options.urgent = true;
  options.deadline_ms = timing.longest_hello_ms();
  return options;
}

pki::Subject issuer_of(const std::string& certificate_pem) {
  const auto certificate = pki::parse_certificate(certificate_pem);
  return certificate ? certificate->issuer : pki::Subject();
}

// As others are told, each once.
Result<std::vector<std::string>> checked(const std::vector<std::string>& addresses) {
  std::vector<std::string> out;
  for (const std::string& text : addresses) {
    TRY(const Address address, parse_address(text));
    std::string form = address.text();
    if (std::find(out.begin(), out.end(), form) == out.end()) out.push_back(std::move(form));
  }
  if (out.size() <= kMaxAddresses) return out;
  return fail(Errc::invalid_argument, strf("a device announces at most %zu addresses to its peers, not %zu",
                                           kMaxAddresses, out.size()));
}

Result<> check_options(PeersOptions& options) {
  if (!is_name(options.name)) return fail(Errc::invalid_argument, "peers: the device has no valid name");
  if (options.cluster.size() != kClusterBytes) {
    return fail(Errc::invalid_argument, strf("peers: a cluster id has %zu bytes", kClusterBytes));
  }
  TRY(options.addresses, checked(options.addresses));
  return {};
}

}  // namespace

class DialImpl;

struct Peers::Impl : std::enable_shared_from_this<Impl> {
  explicit Impl(Core c) : core(std::move(c)) {}

  Result<> start();
  void set_members(const std::vector<Member>& members);
  void server_came(const Caller& caller, bool fresh);
  void learned(MemberId member, bool fresh);
  std::optional<Refusal> judge(const Caller& who) const;
  std::unique_ptr<Channel> hold(Caller who, Greeted& greeted);
  void recheck();
  void cut(const Judge& by);
  void distrust();
  void stop();

  Core core;
  std::map<MemberId, std::unique_ptr<Link>> links;
  std::unique_ptr<Acceptor> acceptor;
  std::set<DialImpl*> dials;
  // What dials made and is alive still. Shared with the hooks of those streams, which may outlive Peers.
  struct Reached {
    Caller who;
    Channel::Handle channel;
  };
  std::shared_ptr<std::list<Reached>> reached = std::make_shared<std::list<Reached>>();
  bool stopped = false;
};

// A dial of the owner's. It may outlive Peers: then nothing comes of it.
class DialImpl final : public Dial {
 public:
  DialImpl(std::shared_ptr<Peers::Impl> peers, const Target& target, DialDone done)
      : peers_(std::move(peers)), kind_(target.kind), done_(std::move(done)) {
    peers_->dials.insert(this);
    if (peers_->stopped) return;
    Core& core = peers_->core;
    std::string name = core.directory.name_of(target.member);
    if (name.empty()) name = target.name;
    std::vector<std::string> addresses = core.directory.addresses(target.member);
    addresses.insert(addresses.end(), target.addresses.begin(), target.addresses.end());
    if (name.empty()) addresses.clear();  // whoever answered could not be checked
    attempt_ = std::make_unique<Attempt>(core, name, std::move(addresses),
                                         core.hello(target.kind, target.member, target.stream),
                                         [this](Outcome outcome) { finish(std::move(outcome)); });
  }
  ~DialImpl() override { peers_->dials.erase(this); }

  void drop() { attempt_.reset(); }

 private:
  void finish(Outcome outcome) {
    attempt_.reset();
    Core& core = peers_->core;
    DialDone done = std::exchange(done_, nullptr);
    if (!outcome.result) return done(std::unexpected(std::move(outcome.result).error()));
    Greeted& greeted = *outcome.result;
    core.directory.reached(greeted.about.member, greeted.address);
    Caller who{.kind = kind_,
               .about = greeted.about,
               .server = true,
               .address = greeted.address,
               .certificate = std::move(greeted.certificate),
               .dialled = true};
    if (const auto refused = peers_->judge(who))
      return done(fail(Errc::permission_denied, "it may not be spoken to: " + refused->text));
    peers_->learned(greeted.about.member, core.directory.learn(greeted.about, ""));
    auto channel = peers_->hold(std::move(who), greeted);
    done(Dialled{std::move(greeted.about), std::move(channel)});
  }

  std::shared_ptr<Peers::Impl> peers_;
  Kind kind_;
  DialDone done_;
  std::unique_ptr<Attempt> attempt_;
};

Result<> Peers::Impl::start() {
  while (core.session == 0) core.session = core.random.u64();
  TRY(core.client,
      tls::ClientContext::make(core.engine, client_options(core.options.credentials, core.options.timing)));
  core.trust.replace(core.options.credentials.ca_pem);
  // From inside a connection's events: the owner may do anything, so not before those are over.
  core.directory.on_learned([this](const Member& member) {
    core.loop.defer([weak = weak_from_this(), member] {
      const auto self = weak.lock();
      if (self && !self->stopped && self->core.callbacks.on_learned) self->core.callbacks.on_learned(member);
    });
  });
  if (!core.options.listen) return {};
  acceptor = std::make_unique<Acceptor>(
      core, Acceptor::Hooks{[this](const Caller& caller, bool fresh) { server_came(caller, fresh); }});
  CHECK_OK(acceptor->listen(core.options.credentials));
  core.port = acceptor->port();
  return {};
}

void Peers::Impl::set_members(const std::vector<Member>& members) {
  const std::vector<MemberId> moved = core.directory.set(members);
  std::erase_if(links, [this](const auto& link) { return !core.directory.knows(link.first); });
  for (const MemberId id : core.directory.all()) {
    if (id == core.options.self) continue;
    std::unique_ptr<Link>& link = links[id];
    if (!link) {
      link = std::make_unique<Link>(core, id);
    } else if (std::find(moved.begin(), moved.end(), id) != moved.end()) {
      link->nudge(true);
    }
  }
  recheck();
  if (acceptor) acceptor->forget_others(core.directory);
}

void Peers::Impl::server_came(const Caller& caller, bool fresh) {
  const auto it = links.find(caller.about.member);
  if (it == links.end()) return;
  it->second->heard(caller.about.session);
  it->second->nudge(fresh);
}

// A dial reached it: at a new address, so may the link.
void Peers::Impl::learned(MemberId member, bool fresh) {
  const auto it = links.find(member);
  if (fresh && it != links.end()) it->second->nudge(true);
}

// An agent judges nobody: the servers do.
std::optional<Refusal> Peers::Impl::judge(const Caller& who) const {
  return core.callbacks.judge ? core.callbacks.judge(who) : std::nullopt;
}

std::unique_ptr<Channel> Peers::Impl::hold(Caller who, Greeted& greeted) {
  const Timing& timing = core.options.timing;
  std::unique_ptr<loop::Stream> below = std::move(greeted.stream);
  if (who.kind == Kind::api)
    below = std::make_unique<Awaiting>(std::move(below), timing.keep, timing.awaited);
  const auto at = reached->insert(reached->end(), Reached{std::move(who), nullptr});
  auto channel = std::make_unique<Channel>(core.loop, std::move(below), std::move(greeted.received),
                                           [reached = reached, at] { reached->erase(at); });
  at->channel = channel->handle();
  return channel;
}

void Peers::Impl::recheck() {
  if (core.callbacks.judge) cut(core.callbacks.judge);
}

// What is on its way looks by itself, when it gets there.
void Peers::Impl::distrust() {
  cut([this](const Caller& who) -> std::optional<Refusal> {
    if (core.trust.issued(who.certificate)) return std::nullopt;
    return distrusted(who.about.name);
  });
  for (auto& [id, link] : links) link->distrust();
}

void Peers::Impl::cut(const Judge& by) {
  if (acceptor) acceptor->recheck(by);
  for (const Reached& one : *reached) {
    if (const auto refused = by(one.who))
      (*one.channel)->cut({Errc::permission_denied, "the connection was cut: " + refused->text, 0});
  }
}

void Peers::Impl::stop() {
  if (std::exchange(stopped, true)) return;
  for (DialImpl* dial : dials) dial->drop();
  links.clear();
  acceptor.reset();
}

Peers::Peers(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Peers::~Peers() {
  stop();
  // A callback of the owner's may be on the stack: it goes when that has returned.
  loop::Loop& loop = impl_->core.loop;
  loop.defer([impl = std::move(impl_)] {});
}

Result<std::unique_ptr<Peers>> Peers::make(loop::Loop& loop, tls::Engine& engine, Clock& clock,
                                           Random& random, PeersOptions options, PeersCallbacks callbacks) {
  LIMPET_ASSERT(!options.listen || (callbacks.judge && callbacks.on_raft && callbacks.on_stream));
  CHECK_OK(check_options(options));
  auto impl =
      std::make_shared<Impl>(Core{loop, engine, clock, random, std::move(options), std::move(callbacks)});
  CHECK_OK(impl->start());
  return std::unique_ptr<Peers>(new Peers(std::move(impl)));
}

uint16_t Peers::port() const { return impl_->core.port; }

void Peers::set_members(const std::vector<Member>& members) {
  if (!impl_->stopped) impl_->set_members(members);
}

Result<> Peers::set_addresses(std::vector<std::string> addresses) {
  TRY(std::vector<std::string> now, checked(addresses));
  std::vector<std::string>& had = impl_->core.options.addresses;
  if (had == now) return {};
  had = std::move(now);
  for (auto& [id, link] : impl_->links) link->restart("the addresses of this device changed");
  return {};
}

// Both or none.
Result<> Peers::replace(const Credentials& credentials) {
  Core& core = impl_->core;
  TRY(auto client, tls::ClientContext::make(core.engine, client_options(credentials, core.options.timing)));
  if (impl_->acceptor) CHECK_OK(impl_->acceptor->replace(credentials));
  core.client = std::move(client);
  const bool reissued =
      issuer_of(credentials.certificate_pem) != issuer_of(core.options.credentials.certificate_pem);
  core.options.credentials = credentials;
  for (auto& [id, link] : impl_->links) {
    reissued ? link->restart("our certificate is of another authority now")
             : link->nudge(true);  // the old ones may be why it is down
  }
  if (core.trust.replace(credentials.ca_pem)) impl_->distrust();
  return {};
}

void Peers::recheck() { impl_->recheck(); }

void Peers::pause_raft(bool paused) {
  if (impl_->acceptor) impl_->acceptor->pause_raft(paused);
  for (auto& [id, link] : impl_->links) link->pause(paused);
}

void Peers::send(MemberId to, std::string message) {
  LIMPET_ASSERT(message.size() <= kMaxRaft);
  const auto it = impl_->links.find(to);
  if (it == impl_->links.end()) return;
  if (it->second->empty() && impl_->acceptor && impl_->acceptor->answer(to, message)) return;
  it->second->send(std::move(message));
}

std::unique_ptr<Dial> Peers::dial(Target target, DialDone done) {
  LIMPET_ASSERT(target.kind != Kind::raft);
  return std::make_unique<DialImpl>(impl_, target, std::move(done));
}

PeersStats Peers::stats() const {
  PeersStats out;
  if (impl_->acceptor) impl_->acceptor->fill(out);
  for (const auto& [id, link] : impl_->links) {
    PeerStats& peer = out.peers.emplace_back();
    peer.member = id;
    if (impl_->acceptor) impl_->acceptor->fill(peer);
    link->fill(peer);
  }
  return out;
}

void Peers::stop() { impl_->stop(); }

const char* link_state_name(LinkState state) {
  constexpr const char* names[] = {"waiting", "connecting", "up"};
  return names[static_cast<size_t>(state)];
}

}  // namespace limpet::peer
