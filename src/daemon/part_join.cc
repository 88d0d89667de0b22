// Which cluster the device is of, before anything of it starts: a join that was staged becomes the device's,
// and a device that is told to join asks until it is let in.
#include <sys/stat.h>

#include <algorithm>
#include <functional>

#include "base/atomic_file.h"
#include "base/log.h"
#include "daemon/joiner.h"
#include "daemon/names.h"
#include "daemon/parts.h"
#include "daemon/place.h"

namespace limpet::daemon {
namespace {

constexpr int64_t first_wait_ms = 1'000, longest_wait_ms = 60'000;
constexpr int64_t attempt_ms = 60'000;
constexpr size_t most_token = 4096;

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
    TRY(const std::optional<JoinOrder> order, read_order(data_dir));
    if (order) {
      CHECK_OK(obey(*order, place.has_value()));
      TRY(place, read_place(data_dir));
    } else if (!place && !device_.config.join.url.empty() && !has_store()) {
      CHECK_OK(join({[this] { return configured(); }, [this] { return device_.config.join != followed_; }}));
      TRY(place, read_place(data_dir));
    }
    if (place) {
      device_.cluster_id = place->cluster;
      device_.member = place->member;
      device_.seeds = place->servers;
      device_.servers = place->api;
      log::info("a device of a cluster", {{"role", place->agent ? "agent" : "server"},
                                          {"servers", static_cast<int64_t>(place->servers.size())}});
      return {};
    }
    return alone();
  }

 private:
  bool has_store() const { return has_own_store(device_.config.data_dir); }

  // Who tells this device where to join.
  struct Order {
    std::function<Result<JoinOrder>()> read;  // for each attempt
    std::function<bool()> changed;            // since it was read last
  };

  // By the configuration. A file with the token is read for each attempt: another may be put there.
  Result<JoinOrder> configured() {
    const Config& c = device_.config;
    followed_ = c.join;
    JoinOrder order{c.join.url, c.join.token, c.role == "agent"};
    if (c.join.token_file.empty()) return order;
    auto token = token_of(c.join.token_file);
    if (!token) return std::unexpected(std::move(token).error().with("join.tokenFile"));
    order.token = std::move(*token);
    return order;
  }

  static Result<std::string> token_of(const std::string& file) {
    TRY(std::string text, read_file(file, most_token));
    const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
    if (begin == std::string::npos) return fail(Errc::invalid_argument, file + " is empty");
    struct stat st{};
    if (stat(file.c_str(), &st) == 0 && (st.st_mode & 077) != 0)
      log::warning("others than root may use the join token: chmod 600", {{"file", file}});
    return text.substr(begin, end + 1 - begin);
  }

  // A device that is something already goes on as that when it is refused: a token that is no good must not
  // keep it down. One that is nothing yet has only this order.
  Result<> obey(const JoinOrder& order, bool is_of_a_cluster) {
    auto joined = join({[&order] { return Result<JoinOrder>(order); }, [] { return false; }});
    if (joined || joined.error().code == Errc::cancelled || (!is_of_a_cluster && !has_store())) return joined;
    CHECK_OK(drop_order(device_.config.data_dir));
    return std::unexpected(
        std::move(joined).error().with("the order of limpet join is dropped, the next start goes on as "
                                       "before"));
  }

  // No cluster but its own, and not for want of an order.
  Result<> alone() const {
    const bool agent = device_.config.role == "agent", told = !device_.config.join.url.empty();
    if (has_store() && agent) {
      return fail(
          Errc::invalid_argument,
          "this device has a cluster of its own, which an agent cannot serve: set role: server, or let "
          "it join with limpet join URL TOKEN --discard, which gives up what its cluster holds");
    }
    if (agent) {
      return fail(Errc::invalid_argument,
                  "an agent needs a cluster: set join.url and join.token or join.tokenFile, or run limpet "
                  "join URL TOKEN");
    }
    if (told) {
      log::warning(
          "the keys below join are passed over: this device has a cluster of its own; to join run "
          "limpet join URL TOKEN (--discard gives up what its cluster holds)",
          {{"join.url", device_.config.join.url}});
    }
    return {};
  }

  JoinOptions options(const JoinOrder& order) const {
    const Config& c = device_.config;
    JoinOptions o;
    o.data_dir = c.data_dir;
    o.node_name = device_.node_name;
    o.addresses = peers_addresses(c);
    o.api_port = static_cast<int>(c.listen.api_port);
    o.order = order;
    return o;
  }

  // Until it is let in or refused: links come up late, and the server may be restarting. A changed order (by
  // SIGHUP) is followed at once.
  Result<> join(const Order& wanted) {
    int64_t wait = first_wait_ms;
    while (!device_.stopping) {
      TRY(const JoinOrder order, wanted.read());
      auto joined = attempt(order, wanted);
      if (joined) {
        CHECK_OK(finish_join(device_.config.data_dir));
        return {};
      }
      if (device_.stopping) break;
      if (wanted.changed()) {
        wait = first_wait_ms;
        continue;
      }
      const Error& error = joined.error();
      if (!may_pass(error.code)) return joined;
      log::warning("not let into the cluster yet, trying again",
                   {{"in_seconds", wait / 1000}, {"error", error}});
      say("waits to be let in by " + order.url + ": " + error.message);
      if (device_.starting_takes) device_.starting_takes(attempt_ms + wait);
      (void)device_.loop.run_until([&] { return device_.stopping || wanted.changed(); }, wait);
      wait = wanted.changed() ? first_wait_ms : std::min(wait * 2, longest_wait_ms);
    }
    return fail(Errc::cancelled, "stopped while it waited to be let in");
  }

  Result<> attempt(const JoinOrder& order, const Order& wanted) {
    if (device_.starting_takes) device_.starting_takes(2 * attempt_ms);
    std::optional<Result<Place>> answer;
    const auto joiner = Joiner::start(device_.loop, device_.clock, options(order),
                                      [&](Result<Place> place) { answer = std::move(place); });
    (void)device_.loop.run_until([&] { return answer || device_.stopping || wanted.changed(); }, attempt_ms);
    if (!answer) return fail(Errc::timeout, "no answer from " + order.url);
    if (!*answer) return std::unexpected(answer->error());
    return {};
  }

  void say(const std::string& text) const {
    if (device_.starting_status) device_.starting_status(text);
  }

  Device& device_;
  Config::Join followed_;  // as it was read last
};

}  // namespace

std::unique_ptr<Part> make_join_part(Device& device) { return std::make_unique<JoinPart>(device); }

}  // namespace limpet::daemon
