// What the tests of this room share: a cluster's CA, real Peers on loopback on one loop, and both ends played
// by hand.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../tls/support.h"
#include "base/log.h"
#include "peer/address.h"
#include "peer/peers.h"

namespace limpet::peer_test {

using namespace limpet::peer;
using tls_test::Ca;
using tls_test::now;

constexpr int64_t limit_ms = 30'000;  // a test that waits so long has failed
inline const std::string cluster_id(16, 'c');

inline Timing quick() {
  return {.backoff_min_ms = 1,
          .backoff_max_ms = 8,
          .connect_ms = 10'000,
          .hello_ms = 20'000,
          .stall_ms = 20'000,
          .silence_ms = 0};
}

// One loop with a cluster's authority; its clock moves when told.
struct Site {
  loop::Loop loop;
  ManualClock clock;
  SeededRandom random{11};
  Ca ca{"site-ca"};
  tls::Engine engine{loop, clock};

  Site() { clock.set_wall(now); }

  Credentials credentials(const std::string& name, bool server = true, int64_t life = 3600) {
    return credentials(ca, name, server, life);
  }
  Credentials credentials(Ca& by, const std::string& name, bool server = true, int64_t life = 3600) {
    pki::Subject subject{"system:node:" + name, {"system:nodes"}};
    pki::Names names{{name}, {}};
    if (server) {
      subject.organizations.push_back("limpet:servers");
      names.dns.push_back(name + ".servers.limpet");
    }
    tls_test::Pair pair = by.issue(subject, names, pki::Use::peer, life);
    return {pair.certificate, pair.key, by.authority.certificate_pem};
  }
  PeersOptions options(MemberId id, const std::string& name) {
    PeersOptions o;
    o.self = id;
    o.name = name;
    o.cluster = cluster_id;
    o.listen_address = "127.0.0.1";
    o.port = 0;
    o.software = "limpet test";
    o.credentials = credentials(name);
    o.timing = quick();
    return o;
  }
  template <class F>
  bool until(F done) {
    return loop.run_until(done, limit_ms);
  }
  // Until everything that was under way has happened.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      bool turned = false;
      loop.defer([&] { turned = true; });
      until([&] { return turned; });
    }
  }
};

// A device: Peers, and what its owner heard.
struct Device {
  Site& site;
  PeersOptions options;
  std::function<void(MemberId, std::string_view)> on_raft;  // beside got
  std::vector<std::pair<MemberId, std::string>> got;
  std::map<MemberId, int> unreachable;
  std::vector<Member> learned;
  std::vector<std::pair<Caller, std::unique_ptr<loop::Stream>>> streams;
  std::function<std::optional<Refusal>(const Caller&)> judge = [](const Caller&) { return std::nullopt; };
  std::unique_ptr<Peers> peers;

  Device(Site& s, PeersOptions o) : site(s), options(std::move(o)) { start(); }
  Device(Site& s, MemberId id, const std::string& name) : Device(s, s.options(id, name)) {}

  void start() {
    PeersCallbacks callbacks;
    callbacks.on_raft = [this](MemberId from, std::string_view bytes) {
      got.emplace_back(from, bytes);
      if (on_raft) on_raft(from, bytes);
    };
    callbacks.on_unreachable = [this](MemberId id) { ++unreachable[id]; };
    callbacks.judge = [this](const Caller& caller) { return judge(caller); };
    callbacks.on_stream = [this](Caller caller, std::unique_ptr<loop::Stream> stream) {
      streams.emplace_back(std::move(caller), std::move(stream));
    };
    callbacks.on_learned = [this](const Member& member) { learned.push_back(member); };
    auto made = Peers::make(site.loop, site.engine, site.clock, site.random, options, std::move(callbacks));
    REQUIRE_MESSAGE(made, made.error().message);
    peers = std::move(*made);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(peers->port()); }
  Member member() const { return {options.self, options.name, {address()}}; }
  PeerStats to(MemberId id) const {
    for (PeerStats& peer : peers->stats().peers) {
      if (peer.member == id) return peer;
    }
    return {};
  }
  bool up(MemberId id) const { return to(id).state == LinkState::up; }
  uint64_t refused(Reason reason) const { return peers->stats().refused[static_cast<size_t>(reason)]; }
};

inline void introduce(const std::vector<Device*>& devices) {
  std::vector<Member> roll;
  for (const Device* d : devices) roll.push_back(d->member());
  for (Device* d : devices) d->peers->set_members(roll);
}

// Waits, and when it takes too long says what the link thought.
inline void require_up(Site& site, const Device& from, MemberId to) {
  const bool up = site.until([&] { return from.up(to); });
  const std::string error = from.to(to).last_error;
  REQUIRE_MESSAGE(up, error);
}

// A client of port 6444 that does what a test wants.
struct Raw {
  Site& site;
  std::unique_ptr<tls::ClientContext> context;
  loop::Connect connect;
  std::unique_ptr<tls::Handshake> handshake;
  std::unique_ptr<tls::Stream> stream;
  std::string received;
  std::string error;
  bool ended = false;

  // Certificate may be empty: none is shown.
  Raw(Site& s, uint16_t port, const Credentials& own, const std::string& server) : site(s) {
    tls::ClientOptions options;
    options.ca_pem = site.ca.authority.certificate_pem;
    options.certificate_pem = own.certificate_pem;
    options.key_pem = own.key_pem;
    context = std::move(tls::ClientContext::make(site.engine, options).value());
    connect.tcp(site.loop, "127.0.0.1", port, limit_ms, [this, server](auto tcp) {
      REQUIRE(tcp);
      handshake =
          tls::wrap_client(*context, std::move(*tcp), server + ".servers.limpet", [this](auto secured) {
            if (!secured) {
              error = secured.error().message;
              ended = true;
              return;
            }
            stream = std::move(*secured);
            stream->set_events({.on_read = [this](std::string_view bytes) { received += bytes; },
                                .on_eof = [this] { ended = true; },
                                .on_error =
                                    [this](const Error& e) {
                                      error = e.message;
                                      ended = true;
                                    },
                                .on_drain = {}});
            stream->read_start();
          });
    });
    site.until([&] { return stream || ended; });
  }
  void write(std::string bytes) {
    REQUIRE(stream);
    stream->write(std::move(bytes));
  }
  // The answer, once it is there; nothing when the connection ended without one.
  std::optional<Answer> answer() {
    const auto whole = [&] { return envelope_size(received).value_or(1) != 0; };
    site.until([&] { return whole() || ended; });
    if (!whole()) return std::nullopt;
    auto decoded = decode_answer(received.substr(0, envelope_size(received).value()));
    REQUIRE_MESSAGE(decoded, decoded.error().message);
    return *decoded;
  }
  bool closed() {
    return site.until([&] { return ended; });
  }
};

inline Hello hello_of(MemberId member, const std::string& name, Kind kind = Kind::raft,
                      uint64_t session = 5) {
  return {kMaxVersion, kind, cluster_id, 0, 0, {member, session, name, "limpet raw", 1, {}}};
}

// A server on a port 6444 that does what a test wants with each connection, after TLS.
struct RawServer {
  Site& site;
  std::unique_ptr<tls::ServerContext> context;
  std::vector<std::unique_ptr<tls::Handshake>> handshakes;
  std::vector<std::unique_ptr<tls::Stream>> streams;
  std::vector<std::string> received;
  std::function<void(tls::Stream&)> on_connection;
  std::unique_ptr<loop::Listener> listener;

  RawServer(Site& s, const Credentials& own, std::function<void(tls::Stream&)> f = {})
      : site(s), on_connection(std::move(f)) {
    tls::ServerOptions options;
    options.certificate_pem = own.certificate_pem;
    options.key_pem = own.key_pem;
    options.client_ca_pem = own.ca_pem;
    context = std::move(tls::ServerContext::make(site.engine, options).value());
    listener =
        std::move(loop::Listener::tcp(site.loop, "127.0.0.1", 0, [this](auto tcp) {
                    handshakes.push_back(tls::wrap_server(*context, std::move(tcp), [this](auto secured) {
                      if (secured) take(std::move(*secured));
                    }));
                  }).value());
  }
  void take(std::unique_ptr<tls::Stream> stream) {
    const size_t i = streams.size();
    streams.push_back(std::move(stream));
    received.emplace_back();
    streams[i]->set_events({.on_read = [this, i](std::string_view bytes) { received[i] += bytes; },
                            .on_eof = {},
                            .on_error = {},
                            .on_drain = {}});
    streams[i]->read_start();
    if (on_connection) on_connection(*streams[i]);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(listener->port()); }
};

// The log of a test. doctest runs one case at a time.
struct LogLines {
  static std::vector<std::string>& lines() {
    static std::vector<std::string> all;
    return all;
  }
  LogLines() {
    lines().clear();
    log::set_sink([](log::Level, std::string_view line) { lines().emplace_back(line); });
  }
  ~LogLines() {
    log::set_sink([](log::Level, std::string_view) {});
  }
  static size_t count(std::string_view part) {
    size_t n = 0;
    for (const std::string& line : lines()) n += line.find(part) != std::string::npos ? 1 : 0;
    return n;
  }
};

}  // namespace limpet::peer_test
