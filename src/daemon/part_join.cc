// Which cluster the device is of, before anything of it starts: a join that was staged becomes the device's,
// and a device that is told to join asks until it is let in.
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "daemon/joiner.h"
#include "daemon/names.h"
#include "daemon/parts.h"
#include "daemon/place.h"
#include "peer/address.h"

namespace limpet::daemon {
namespace {

constexpr int64_t first_wait_ms = 1'000, longest_wait_ms = 60'000;
constexpr int64_t attempt_ms = 60'000;

// Names do not resolve, either, as long as the link is down.
bool may_pass(Errc code) {
  return code == Errc::unavailable || code == Errc::timeout || code == Errc::io || code == Errc::not_found;
}

class JoinPart final : public Part {
 public:
  explicit JoinPart(Device& device) : device_(device) {}
  const char* name() const override { return "join"; }

  Result<> start() override {
    const std::string& data_dir = device_.config.data_dir;
    CHECK_OK(finish_join(data_dir));
    TRY(std::optional<Place> place, read_place(data_dir));
    if (!place) {
      TRY(const std::optional<JoinOrder> order, wanted());
      if (order) {
        CHECK_OK(join(*order));
        TRY(place, read_place(data_dir));
      }
    }
    if (place) {
      device_.cluster_id = place->cluster;
      device_.member = place->member;
      device_.seeds = place->servers;
      device_.servers = place->api;
      log::info("a device of a cluster", {{"role", place->agent ? "agent" : "server"},
                                          {"servers", static_cast<int64_t>(place->servers.size())}});
    } else if (device_.config.role == "agent") {
      return fail(Errc::invalid_argument,
                  "an agent needs a cluster: set join.url and join.token, or run limpet join URL TOKEN");
    }
    return {};
  }

 private:
  // A device that has a store is of a cluster already, and the keys for joining are of no meaning any more.
  Result<std::optional<JoinOrder>> wanted() const {
    TRY(std::optional<JoinOrder> order, read_order(device_.config.data_dir));
    if (order) return order;
    const auto& c = device_.config;
    const bool has_store = access((device_.paths.store_file + ".made").c_str(), F_OK) == 0 ||
                           access(device_.paths.store_file.c_str(), F_OK) == 0;  // a restored one
    if (c.join.url.empty() || has_store) return std::optional<JoinOrder>();
    return std::optional<JoinOrder>(JoinOrder{c.join.url, c.join.token, c.role == "agent"});
  }

  JoinOptions options(const JoinOrder& order) const {
    const Config& c = device_.config;
    JoinOptions o;
    o.data_dir = c.data_dir;
    o.node_name = device_.node_name;
    o.addresses = {peer::Address{device_address(c), static_cast<uint16_t>(c.listen.peers_port)}.text()};
    o.api_port = static_cast<int>(c.listen.api_port);
    o.order = order;
    return o;
  }

  // Until it is let in or refused: links come up late, and the server may be restarting.
  Result<> join(const JoinOrder& order) {
    for (int64_t wait = first_wait_ms;; wait = std::min(wait * 2, longest_wait_ms)) {
      if (device_.starting_takes) device_.starting_takes(attempt_ms + wait);
      std::optional<Result<Place>> answer;
      auto joiner = Joiner::start(device_.loop, device_.clock, options(order),
                                  [&](Result<Place> place) { answer = std::move(place); });
      (void)device_.loop.run_until([&] { return answer.has_value() || device_.stopping; }, attempt_ms);
      joiner.reset();
      if (device_.stopping) return fail(Errc::cancelled, "stopped while it waited to be let in");
      if (answer && *answer) break;
      const Error error = answer ? answer->error() : Error{Errc::timeout, "no answer from " + order.url, 0};
      if (!may_pass(error.code)) return std::unexpected(error);
      log::warning("not let into the cluster yet, trying again",
                   {{"in_seconds", wait / 1000}, {"error", error}});
      (void)device_.loop.run_until([&] { return device_.stopping; }, wait);
      if (device_.stopping) return fail(Errc::cancelled, "stopped while it waited to be let in");
    }
    CHECK_OK(finish_join(device_.config.data_dir));
    return {};
  }

  Device& device_;
};

}  // namespace

std::unique_ptr<Part> make_join_part(Device& device) { return std::make_unique<JoinPart>(device); }

}  // namespace limpet::daemon
