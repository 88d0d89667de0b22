// ClusterAccess::forward over an HTTP client: what the daemon calls with the leader's address and a dialer
// that makes streams to port 6444.
#pragma once

#include <memory>

#include "api/cluster_access.h"
#include "http/client.h"

namespace limpet::api {

// The client outlives what is returned. It must not repeat requests behind its caller's back other than GET
// and HEAD, and does not (client.h). `answer_timeout_ms`: from the request to the head of the answer.
[[nodiscard]] std::unique_ptr<Forwarding> forward_over_http(http::Client& client, const http::Origin& leader,
                                                            http::Request request, ForwardEvents events,
                                                            int64_t answer_timeout_ms);

}  // namespace limpet::api
