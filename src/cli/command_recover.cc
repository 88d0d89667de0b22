// limpet cluster recover: the one server that is left goes on alone.
#include <unistd.h>

#include <memory>
#include <set>

#include "base/atomic_file.h"
#include "cli/command_doctor.h"
#include "cli/commands.h"
#include "cli/device_config.h"
#include "cli/format.h"
#include "cli/recovery.h"
#include "daemon/tls_dialer.h"
#include "http/client.h"
#include "peer/address.h"
#include "store/data_dir_lock.h"
#include "store/surgery.h"
#include "tls/tls.h"

namespace limpet::cli {
namespace {

constexpr int64_t answer_ms = 5'000;
constexpr size_t max_ca = 256 * 1024, max_answer = 64 * 1024;

std::string names_of(const std::vector<cluster::Device>& servers) {
  std::string out;
  for (const cluster::Device& s : servers) out += (out.empty() ? "" : ", ") + printable(s.name);
  return out;
}

// Asks the API of each server at each of its addresses, all at once: whoever proves with a certificate of the
// cluster that it is there is there, whatever it says.
class RollCall {
 public:
  RollCall(loop::Loop& loop, Clock& clock) : loop_(loop), engine_(loop, clock) {}

  Result<std::set<raft::MemberId>> ask(const std::vector<cluster::Device>& servers,
                                       const std::string& ca_pem) {
    tls::ClientOptions trust;
    trust.ca_pem = ca_pem;
    TRY(context_, tls::ClientContext::make(engine_, trust));
    dialer_ = std::make_unique<daemon::TlsDialer>(*context_, daemon::keep_alive_lan);
    client_ = std::make_unique<http::Client>(loop_, *dialer_);
    for (const cluster::Device& server : servers) {
      for (const std::string& address : server.addresses) call(server, address);
    }
    (void)loop_.run_until([this] { return waiting_ == 0; }, answer_ms);
    calls_.clear();
    return answered_;
  }

 private:
  void call(const cluster::Device& server, const std::string& address) {
    auto at = peer::parse_address(address);
    if (!at) return;
    at->port = static_cast<uint16_t>(server.api_port);
    const auto url = http::parse_url("https://" + at->text());
    if (!url) return;
    http::ClientRequest request;
    request.origin = url->origin;
    request.target = "/livez";
    request.first_byte_timeout_ms = answer_ms;
    ++waiting_;
    calls_.push_back(
        client_->fetch(std::move(request), max_answer, [this, id = server.member](Result<http::Response> r) {
          --waiting_;
          if (r) answered_.insert(id);
        }));
  }

  loop::Loop& loop_;
  tls::Engine engine_;
  std::unique_ptr<tls::ClientContext> context_;
  std::unique_ptr<daemon::TlsDialer> dialer_;
  std::unique_ptr<http::Client> client_;
  std::vector<std::unique_ptr<http::Call>> calls_;
  std::set<raft::MemberId> answered_;
  size_t waiting_ = 0;
};

std::string question(const Servers& servers, const std::set<raft::MemberId>& answering) {
  std::string text = "The other servers of this cluster, " + names_of(servers.others) +
                     ", are given up: they must never run again with their data. Together they would be the "
                     "cluster that they were, "
                     "beside this one. Before one of them comes back, run limpet reset on it, then limpet "
                     "join. What the last seconds wrote may be lost. "
                     "This cannot be undone.";
  std::vector<cluster::Device> alive;
  for (const cluster::Device& s : servers.others) {
    if (answering.contains(s.member)) alive.push_back(s);
  }
  if (!alive.empty()) text += " These run at the moment, stop them now: " + names_of(alive) + ".";
  return text;
}

Outcome<> refuse_a_running_limpetd(const DeviceConfig& device) {
  const int64_t pid = data_dir_holder(device.paths.data_dir);
  if (pid == 0) return {};
  return failed(exit_failed, strf("limpetd runs (pid %lld): stop it first\ntry: systemctl stop limpetd",
                                  static_cast<long long>(pid)));
}

std::unexpected<Failure> failed_by(const Error& error) { return failed(exit_failed, error.message); }

}  // namespace

Outcome<int> run_cluster_recover(Context& context) {
  const DeviceConfig device = read_device_config(context.arguments);
  if (!device.problem.empty())
    return failed(exit_failed,
                  "where the store is cannot be told, since the configuration is wrong: " + device.problem);
  if (geteuid() != 0) return failed(exit_failed, "this needs root");
  if (const auto stopped = refuse_a_running_limpetd(device); !stopped)
    return std::unexpected(stopped.error());
  const std::string& file = device.paths.store_file;
  if (access(file.c_str(), F_OK) != 0)
    return failed(exit_failed, file + " is not there: this device is no server of a cluster");
  // Held until the end, so that none starts in between.
  const auto lock = store::lock_data_dir(device.paths.data_dir);
  if (!lock) return failed_by(lock.error());

  SystemRandom random;
  const auto survey = store::survey_database(file, cluster_prefix, random);
  if (!survey) return failed_by(survey.error());
  const auto servers = servers_of(survey->items, survey->self);
  if (!servers) return failed_by(servers.error());
  const auto ca = read_file(device.paths.pki_dir + "/ca.crt", max_ca);
  if (!ca) return failed_by(ca.error());
  const auto answering = RollCall(context.daemon.loop(), context.clock).ask(servers->others, *ca);
  if (!answering) return failed_by(answering.error());
  if (can_decide(survey->membership, survey->self, *answering)) {
    std::vector<cluster::Device> there;
    for (const cluster::Device& s : servers->others) {
      if (answering->contains(s.member)) there.push_back(s);
    }
    return failed(exit_failed, "the cluster is not lost: " + names_of(there) +
                                   " run and with this server can decide\ntry: systemctl start limpetd");
  }
  if (!context.arguments.yes) {
    if (isatty(STDIN_FILENO) != 1)
      return failed(exit_usage, "nobody can be asked: --yes says that the other servers are given up");
    if (!confirmed(context, question(*servers, *answering)))
      return failed(exit_failed, "nothing was changed");
  }
  const WallTime now = context.clock.wall();
  const store::Amend amend{cluster_prefix, [&](const std::vector<store::Item>& items, raft::MemberId self) {
                             return give_up_others(items, survey->self, self, now);
                           }};
  const auto done = store::recover_database(file, now.seconds, random, amend);
  if (!done) return failed_by(done.error());
  return print(context,
               labelled("",
                        printable(servers->own.name) + " is the whole cluster now, at revision " +
                            std::to_string(done->revision) + ". Given up: " + names_of(servers->others) +
                            ". Start limpetd, reset what is left of the others, and let devices join.",
                        0, context.output.width));
}

}  // namespace limpet::cli
