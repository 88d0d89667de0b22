// Requests that only the leader can serve, on a server that does not lead: they go there with the user who
// was found here, and the answer streams back with back-pressure.
//
// What happens when that fails depends on what may have happened at the leader:
//   not a byte of it left                           503 with Retry-After, after a while of trying
//   it left and no answer came, a write             504 without: nobody knows whether it was done
//   the same, a read                                503 with Retry-After
//   the answer broke off                            the answer here breaks off, too; a watch ends in good
//   order,
//                                                   so that the client watches anew
// A request that came from another server is never forwarded (dispatch in server.cc).
#pragma once

#include <functional>

#include "api/context.h"

namespace limpet::api {

// `lead` serves the call here, when this server has become the leader before the request left.
void forward(const CallPtr& call, std::function<void(CallPtr)> lead);

// Of a leader's answer, what is for the client: by a list of what is known to be. The rest is of the
// connection between the servers, or the transport sets it anew (RFC 9110 section 7.6.1).
http::Headers end_to_end(const http::Headers& answer);

// The request as it is to arrive: nothing that the client said of who it is, nothing of its connection.
http::Request forwarded_request(const Call& call);

}  // namespace limpet::api
