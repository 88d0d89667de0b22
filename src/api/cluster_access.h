// What the API of one server needs of the cluster that it is a part of: who leads, whether the state here may
// be read, and a way to hand a request to the leader.
//
// Implemented by the daemon over the raft group and the connections to other servers (forward_http.h is the
// part of it that speaks HTTP); outlives the ApiServer that was given it. Loop thread only. Asked once or
// more for each request: answers from memory. Whoever implements it calls ApiServer::leadership_changed()
// whenever one of the first four answers is another one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace limpet::api {

// A request under way to the leader. Destroying it ends it: the leader hears that the client is gone, and
// none of the events comes after that, also from inside one of them.
class Forwarding {
 public:
  virtual ~Forwarding() = default;
  virtual void pause(bool paused) = 0;  // back-pressure: no on_body until it is let go on
};

// None of them is called before forward() returned.
struct ForwardEvents {
  std::function<void(int status, const http::Headers&)> on_head;  // once, before any of the body
  std::function<void(std::string_view bytes)> on_body;            // borrowed for the call
  // Last call. Ok: the answer is whole. Before on_head an error says what may have happened at the leader:
  // `unavailable`: nothing, not a byte of the request left; any other: nobody knows. After on_head: the
  // answer is not whole.
  std::function<void(Result<>)> on_end;
};

class ClusterAccess {
 public:
  virtual ~ClusterAccess() = default;

  virtual bool leading() const = 0;       // this server, as far as it knows
  virtual bool leader_known() const = 0;  // this one or another
  virtual uint64_t term() const = 0;      // of the raft group; never 0
  // Leads a group of nobody else: the state here is the only one there is, and reading it needs no barrier.
  virtual bool alone() const = 0;
  // Done once the state here is at least what any server acknowledged before the call. `unavailable`: no
  // leader could say. May be done before the call returns.
  virtual void barrier(std::function<void(Result<>)> done) = 0;
  // Hands the request to the leader, which serves it as http::Peer::Kind::forwarded. Method, target, headers
  // and body are as they are to arrive; Host and Content-Length are the carrier's. Its time limit until the
  // answer begins must be longer than Options::request_timeout_ms, and there is none between the parts of a
  // watch. Without a leader: on_end(unavailable).
  [[nodiscard]] virtual std::unique_ptr<Forwarding> forward(http::Request request, ForwardEvents events) = 0;
};

}  // namespace limpet::api
