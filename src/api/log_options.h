// What a request for a log asks for.
#pragma once

#include "api/node_access.h"
#include "api/status.h"
#include "http/message.h"

namespace limpet::api {

// Of the query of pods/NAME/log, with upstream's refusals.
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
Outcome<LogOptions> read_log_options(const http::Query& query);

}  // namespace limpet::api
