// The 6444 side of a device: one outgoing raft connection to every other member, what others dial, and the
// connections that the device dials for its API, its node service and as an agent.
//
//   auto peers = peer::Peers::make(loop, engine, clock, random, options, callbacks);
//   (*peers)->set_members(roll);                     links come up by themselves
//   (*peers)->send(member, bytes);                   may be lost, never blocks
//   auto dial = (*peers)->dial({.member = leader, .kind = peer::Kind::api}, done);
//
// Owned by the daemon, on the loop's thread; the engine, clock and random outlive it. Callbacks come on the
// loop, never from inside a call of this class, save `judge`; any call may be made from inside them, stop()
// and destruction included. Streams that were handed over live on when Peers is gone.
//
// Source of the rules: docs/decisions/0025-peers.md.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "peer/directory.h"
#include "peer/wire.h"
#include "pki/certificate.h"
#include "tls/tls.h"

namespace limpet::peer {

// The device's certificate (Use::peer) with its key, and the authorities that peers are believed by.
struct Credentials {
  std::string certificate_pem;
  std::string key_pem;
  std::string ca_pem;
};

struct Timing {
  int64_t backoff_min_ms;  // between two attempts to reach a member, doubled each time, with jitter
  int64_t backoff_max_ms;
  int64_t connect_ms;  // for one address, TCP
  int64_t hello_ms;    // from there to the answer: TLS handshake and hello; see longest_hello_ms()
  int64_t stall_ms;    // bytes wait here and none goes out: a link is cut
  int64_t silence_ms;  // the kernel gets none of a link's bytes acknowledged: it is cut; 0: the kernel's own
  // Of connections on which nothing may be said for hours (logs, exec): a device that lost power is noticed.
  loop::KeepAlive keep = {.idle_s = 15, .interval_s = 5, .count = 4};
  // Of the same while an answer of kind api is waited for: about as long as it takes to notice that a leader
  // is lost.
  loop::KeepAlive awaited = {.idle_s = 2, .interval_s = 1, .count = 3};
  // What hello_ms grows to, doubled by each attempt for which it was too short: when many dial at once on
  // machines that are busy, all would otherwise give up just before the end, and begin anew. As long is
  // waited for a handshake that somebody began here.
  int64_t longest_hello_ms() const { return 4 * hello_ms; }
  static Timing lan() { return {100, 5'000, 2'000, 5'000, 5'000, 5'000}; }
  static Timing metered() {
    return {1'000, 60'000, 15'000, 30'000, 60'000, 60'000, {300, 60, 5}, {30, 10, 3}};
  }
};

struct Limits {
  size_t queue_bytes = 4u << 20;  // that wait for one member; a larger message goes into an empty queue
  size_t connections = 128;       // accepted and alive, the handed over ones included
  size_t greeting = 32;           // accepted and not judged yet
};

struct PeersOptions {
  MemberId self = 0;  // 0 on an agent
  std::string name;
  std::string cluster;                 // kClusterBytes
  bool listen = true;                  // an agent does not
  std::string listen_address = "::";   // "::" takes IPv4 and IPv6
  uint16_t port = kDefaultPort;        // 0: any, for tests
  std::vector<std::string> addresses;  // others may reach this device at; at most kMaxAddresses
  std::string software;                // "limpet 0.4.0"
  Credentials credentials;
  Timing timing = Timing::lan();
  Limits limits;
};

// Somebody who dialled, or was dialled, with a certificate of the cluster and a hello that fits it.
struct Caller {
  Kind kind = Kind::raft;
  About about;
  uint64_t stream = 0;  // kind stream: the id
  bool server = false;  // its certificate is a server's
  std::string address;  // "192.0.2.1:4711"
  pki::Certificate certificate;
  bool dialled = false;            // by this device: it is not who came but who was reached
  uint64_t version = kMinVersion;  // of the protocol, that both speak
};

// Where to dial: a member, or a name with addresses (an agent knows servers by these).
struct Target {
  MemberId member = 0;
  std::string name;                    // taken from the directory when `member` is known there
  std::vector<std::string> addresses;  // as well
  Kind kind = Kind::api;
  uint64_t stream = 0;
};

using Judge = std::function<std::optional<Refusal>(const Caller&)>;

struct PeersCallbacks {
  // A message of this member; the bytes are valid during the call.
  std::function<void(MemberId, std::string_view)> on_raft;
  // What was sent to it since the last time is probably lost.
  std::function<void(MemberId)> on_unreachable;
  // May it come in? Asked for each connection that has passed everything which is checked here, those that
  // dial() made included, and again by recheck(). Nothing means yes. Who is a member, who was removed and
  // which certificate was revoked is the owner's to know. Called from inside; may not call back into Peers.
  Judge judge;
  // A connection of kind api, node, agent or stream.
  std::function<void(Caller, std::unique_ptr<loop::Stream>)> on_stream;
  // Addresses of a member to be kept: it said them itself.
  std::function<void(const Member&)> on_learned;
};

enum class LinkState { waiting, connecting, up };
const char* link_state_name(LinkState state);

// One member, for `limpet cluster status` and /metrics. Bytes are those of frames, without TLS. Times are
// those of loop::Loop::now_ms(); -1: never.
struct PeerStats {
  MemberId member = 0;
  std::string name;
  LinkState state = LinkState::waiting;
  std::string address;     // in use, or tried last
  std::string last_error;  // of the link; stays when it is up again, for people
  int64_t last_error_ms = -1;
  int64_t next_attempt_ms = -1;  // state waiting
  int64_t up_since_ms = -1;      // state up
  int64_t last_contact_ms = -1;  // bytes in either direction: an answer, a message
  std::string software;
  uint64_t connects = 0;
  uint64_t failures = 0;                     // attempts, and connections that broke
  std::array<uint64_t, kReasons> refused{};  // of these, by reason: the member refused us
  uint64_t messages_out = 0, messages_in = 0, messages_dropped = 0;
  uint64_t bytes_out = 0, bytes_in = 0;
  size_t queued = 0;      // bytes that wait
  bool incoming = false;  // its raft connection to us is there
  uint64_t incoming_connects = 0;
};

struct PeersStats {
  std::vector<PeerStats> peers;
  std::array<uint64_t, kReasons> refused{};  // connections that came here, by reason
  std::array<size_t, kKinds> open{};         // accepted and alive, by kind
  size_t greeting = 0;                       // accepted and not judged yet
  uint64_t accepted = 0;
};

// A dial under way. Destroying it ends the attempt and no callback is made.
class Dial {
 public:
  virtual ~Dial() = default;
};
struct Dialled {
  About about;  // of who answered
  std::unique_ptr<loop::Stream> stream;
};
// `permission_denied`: the other side refused (`unsupported`: over the version). `timeout` and `unavailable`:
// nothing was sent beyond the hello in any case.
using DialDone = std::function<void(Result<Dialled>)>;

class Peers {
 public:
  static Result<std::unique_ptr<Peers>> make(loop::Loop& loop, tls::Engine& engine, Clock& clock,
                                             Random& random, PeersOptions options, PeersCallbacks callbacks);
  ~Peers();
  Peers(const Peers&) = delete;

  uint16_t port() const;  // listened on; 0 without
  // The members of the group, this one included or not. Links to those who are gone are closed, and who is
  // connected is judged again.
  void set_members(const std::vector<Member>& members);
  // Where others reach this device; when that changes the links are made anew, which tells everybody.
  Result<> set_addresses(std::vector<std::string> addresses);
  // For connections from now on; those that are up stay, unless the other side's certificate is of an
  // authority that is not trusted any more: they are cut. Links are made anew under a certificate of another
  // authority, so that the others have no reason to cut them later. On an error the old ones stay.
  Result<> replace(const Credentials& credentials);
  // Judges again who is connected, and cuts those who would not be let in any more.
  void recheck();
  // Back-pressure: while paused no message is read, and the members' queues fill.
  void pause_raft(bool paused);

  void send(MemberId to, std::string message);
  [[nodiscard]] std::unique_ptr<Dial> dial(Target target, DialDone done);

  PeersStats stats() const;
  // Links, listener and connections of kind raft close; no callback comes any more.
  void stop();

  struct Impl;

 private:
  explicit Peers(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::peer
