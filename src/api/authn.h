// Who sent this request? From what the transport proved and the Authorization header.
#pragma once

#include <map>
#include <string>

#include "api/options.h"
#include "api/user.h"
#include "base/clock.h"
#include "http/message.h"

namespace limpet::api {

// What another server of the cluster forwarded: who that one found. Of anybody else's X-Remote-* nothing is
// believed. Else in this order: bearer token, client certificate, unix socket (root is admin, readers read),
// in-process identity; without any of these system:anonymous. Credentials that do not hold are an error
// (401), never anonymous.
Result<User> authenticate(const Options& options, const http::Request& request);

}  // namespace limpet::api
