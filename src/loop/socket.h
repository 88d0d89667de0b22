// Small socket helpers of listener.cc and connect.cc. Not for other rooms.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "base/result.h"

namespace limpet::loop {

Result<sockaddr_un> unix_address(const std::string& path);
void tune_tcp(int fd);  // no delay, keep-alive; does nothing on other sockets

}  // namespace limpet::loop
