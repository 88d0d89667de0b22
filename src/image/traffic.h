// What images cost in bytes over the link, counted since the daemon started. For /metrics; people pay for
// some links.
//
// Owned by Transport, on the loop's thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace limpet::image {

struct Traffic {
  static constexpr size_t max_registries = 64;  // all beyond are counted together

  // Bodies of answers, as they come, by the registry or mirror that was asked (not where it redirects to).
  std::map<std::string, uint64_t> received;
  uint64_t resumed = 0;    // bytes that earlier attempts had brought and were not fetched again
  uint64_t discarded = 0;  // bytes of blobs that were fetched, or kept, in vain
  uint64_t breaks = 0;     // blobs that broke off and were gone on with

  void receive(const std::string& registry, uint64_t bytes) {
    const bool known = received.contains(registry) || received.size() < max_registries;
    received[known ? registry : "other"] += bytes;
  }
};

}  // namespace limpet::image
