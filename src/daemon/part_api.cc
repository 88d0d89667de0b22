// The API server over the store, without any listener yet.
#include <grp.h>
#include <pwd.h>

#include <cerrno>

#include "api/identity.h"
#include "api/server.h"
#include "base/log.h"
#include "daemon/denied.h"
#include "daemon/metrics.h"
#include "daemon/parts.h"
#include "pki/device.h"

namespace limpet::daemon {
namespace {

constexpr uint32_t nobody = ~0u;
constexpr size_t name_buffer_bytes = 16384;

// The group's number, or nobody's when there is no such group.
uint32_t group_id(const std::string& name) {
  if (name.empty()) return nobody;
  std::vector<char> buffer(name_buffer_bytes);
  group entry{};
  group* found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) return nobody;
  return found->gr_gid;
}

// Whether the user is a member of the group. The socket says only the peer's primary group.
bool is_member(uint32_t uid, uint32_t primary_gid, uint32_t wanted_gid) {
  if (wanted_gid == nobody) return false;
  if (primary_gid == wanted_gid) return true;
  std::vector<char> buffer(name_buffer_bytes);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || !found) return false;
  gid_t groups[256];
  int count = 256;
  if (getgrouplist(found->pw_name, found->pw_gid, groups, &count) < 0) return false;
  for (int i = 0; i < count; i++) {
    if (groups[i] == wanted_gid) return true;
  }
  return false;
}

class ApiPart final : public Part {
 public:
  explicit ApiPart(Device& device) : device_(device) {}
  const char* name() const override { return "api"; }

  Result<> start() override {
    api::Options options;
    TRY(options.identity, api::make_identity({device_.identity.service_account_key_pem}, options.issuer,
                                             device_.clock, device_.random));
    options.identity.read_certificate = [this, read = std::move(options.identity.read_certificate)](
                                            std::string_view der) -> Result<api::User> {
      TRY(api::User user, read(der));
      if (!user.in(pki::nodes_group) || !device_.denied) return user;
      TRY(const pki::Certificate certificate, pki::parse_certificate(der));
      if (device_.denied->has(certificate))
        return fail(Errc::unauthenticated, user.name + " was removed from this cluster");
      return user;
    };
    options.cluster_ca_pem = device_.identity.ca_pem;
    device_.reader_gid = group_id(device_.config.listen.socket_group);
    options.reader_gid = device_.reader_gid;
    device_.is_reader = [gid = device_.reader_gid](uint32_t uid, uint32_t primary) {
      return is_member(uid, primary, gid);
    };
    options.is_reader = device_.is_reader;
    options.ready_checks = [this] { return readiness(); };
    device_.api_version = options.git_version;
    server_ = std::make_unique<api::ApiServer>(device_.loop, device_.clock, device_.random, *device_.store,
                                               std::move(options), nullptr);
    server_->set_cluster(device_.cluster);
    device_.api = server_.get();
    server_->metrics().add("store", [this](api::MetricsText& out) {
      if (device_.store) describe_store(out, device_.store->stats());
    });
    server_->metrics().add("process", describe_process);
    server_->metrics().add("loop", [this](api::MetricsText& out) { describe_loop(out, device_.loop); });
    server_->start([this](Result<> started) {
      if (!started) {
        device_.fatal("api: " + started.error().message);
      } else {
        ready_ = true;
      }
    });
    return {};
  }

  void stop(loop::Task done) override {
    ready_ = false;
    device_.api = nullptr;
    server_->stop();
    // Answers under way are given back to the server's exchanges in this turn of the loop.
    device_.loop.defer([this, done] {
      server_.reset();
      done();
    });
  }

  std::string not_ready() const override { return ready_ ? "" : "the built-in objects are not there yet"; }

 private:
  // Of the whole daemon, as one check of /readyz; `limpet status` tells them apart.
  std::vector<std::pair<std::string, std::string>> readiness() const {
    std::string failure;
    if (device_.not_ready) {
      for (const auto& [part, reason] : device_.not_ready()) {
        failure += (failure.empty() ? "" : "; ") + part + ": " + reason;
      }
    }
    return {{"daemon", failure}};
  }

  Device& device_;
  std::unique_ptr<api::ApiServer> server_;
  bool ready_ = false;
};

}  // namespace

std::unique_ptr<Part> make_api_part(Device& device) { return std::make_unique<ApiPart>(device); }

}  // namespace limpet::daemon
