// Any bytes as the target of a call to the node service, and as the last word of a command: refused or
// understood, and what is understood is told on without change.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "daemon/node_wire.h"

using namespace limpet;
using namespace limpet::daemon;

namespace {

void check_call(std::string_view target) {
  std::string path;
  http::Query query;
  if (!http::split_target(target, &path, &query)) return;
  const auto call = read_node_call(path, query);
  if (!call) {
    if (call.error().code < 400 || call.error().message.empty()) abort();
    return;
  }
  const bool logs = call->verb == NodeCall::Verb::logs;
  const std::string again =
      logs ? node_target(call->container, call->log) : node_target(call->container, call->exec);
  if (!http::split_target(again, &path, &query)) abort();
  const auto second = read_node_call(path, query);
  if (!second || second->verb != call->verb || second->container.container != call->container.container)
    abort();
  if (second->exec.command != call->exec.command || second->log.tail_lines != call->log.tail_lines) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with('/')) {
    check_call(bytes);
    return 0;
  }
  const auto end = read_exec_end(bytes);
  if (end && *end < 0) abort();
  if (!end && end.error().message.empty()) abort();
  return 0;
}
