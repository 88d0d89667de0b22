// What the limpet command asks the daemon about: the members of the status document that the daemon itself
// knows.
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "base/atomic_file.h"
#include "daemon/local_api.h"
#include "daemon/metrics.h"
#include "daemon/names.h"
#include "daemon/parts.h"
#include "daemon/versions.h"
#include "net/link.h"
#include "pki/certificate.h"
#include "store/store.h"

namespace limpet::daemon {
namespace {

int64_t signed_number(uint64_t n) { return static_cast<int64_t>(n); }

// The proportional share of memory, without what other processes share; 0 where the kernel does not tell.
int64_t own_pss_bytes() {
  const auto text = read_file("/proc/self/smaps_rollup", 4096);
  if (!text) return 0;
  const size_t at = text->find("\nPss:");
  unsigned long long kib = 0;
  if (at == std::string::npos || sscanf(text->c_str() + at, "\nPss: %llu", &kib) != 1) return 0;
  return static_cast<int64_t>(kib * 1024);
}

class LocalPart final : public Part {
 public:
  explicit LocalPart(Device& device) : device_(device) {}
  const char* name() const override { return "local"; }

  Result<> start() override {
    started_ms_ = device_.clock.monotonic_ms();
    local_ = std::make_unique<LocalApi>(device_.is_reader);
    local_->serve("version", [this](http::ExchangePtr e) { e->respond(local_json(version())); });
    local_->serve(
        "kubeconfig",
        [this](http::ExchangePtr e) {
          http::Response response;
          response.headers.set("Content-Type", "application/yaml");
          response.body = device_.identity.kubeconfig;
          e->respond(std::move(response));
        },
        LocalApi::Access::root);
    local_->describe("daemon", [this](json::Writer& w) { describe_daemon(w); });
    local_->describe("node", [this](json::Writer& w) { describe_node(w); });
    local_->describe("notReady", [this](json::Writer& w) { describe_readiness(w); });
    local_->describe("certificates", [this](json::Writer& w) { describe_certificates(w); });
    if (device_.store) local_->describe("store", [this](json::Writer& w) { describe_store(w); });
    local_->describe("disk", [this](json::Writer& w) { describe_disk(w); });
    device_.local = local_.get();
    if (!device_.metrics) count_for_agent();
    return {};
  }

  void stop(loop::Task done) override {
    device_.local = nullptr;
    if (device_.metrics == &counted_) device_.metrics = nullptr;
    local_.reset();
    done();
  }

 private:
  // There is no API whose numbers they stand beside.
  void count_for_agent() {
    counted_.add("process", describe_process);
    counted_.add("loop", [this](api::MetricsText& out) { describe_loop(out, device_.loop); });
    device_.metrics = &counted_;
  }

  std::string version() const {
    const Versions v = linked_versions();
    json::Writer w;
    w.begin_object().field("version", v.limpet).field("apiVersion", device_.api_version);
    w.field("node", device_.node_name).key("libraries").begin_object();
    w.field("sqlite", v.sqlite).field("mbedtls", v.mbedtls).field("libuv", v.libuv);
    w.field("httpParser", v.http_parser).end_object().end_object();
    return w.take();
  }

  void describe_daemon(json::Writer& w) const {
    w.begin_object().field("version", LIMPET_VERSION).field("pid", static_cast<int64_t>(getpid()));
    w.field("uptimeSeconds", (device_.clock.monotonic_ms() - started_ms_) / 1000);
    w.field("pssBytes", own_pss_bytes()).end_object();
  }

  void describe_node(json::Writer& w) const {
    w.begin_object().field("name", device_.node_name).field("role", device_.config.role);
    w.key("addresses").begin_array();
    const std::string& chosen = device_.config.node.address;
    if (!chosen.empty()) w.string(chosen);
    if (const auto addresses = device_addresses()) {
      const auto pods = net::parse_cidr(device_.config.network.pod_cidr);
      for (const std::string& a : *addresses) {
        const auto ip = net::parse_ipv4(a);
        const bool of_pods = ip && pods && pods->contains(*ip);  // the bridge's
        if (a != chosen && !a.starts_with("127.") && a != "::1" && !of_pods) w.string(a);
      }
    }
    w.end_array();
    if (device_.api) w.field("apiURL", local_api_url(device_.config));
    w.end_object();
  }

  void describe_readiness(json::Writer& w) const {
    w.begin_array();
    if (device_.not_ready) {
      for (const auto& [part, reason] : device_.not_ready()) {
        w.begin_object().field("part", part).field("reason", reason).end_object();
      }
    }
    w.end_array();
  }

  void describe_certificates(json::Writer& w) const {
    const std::pair<const char*, const std::string*> rows[] = {{"ca", &device_.identity.ca_pem},
                                                               {"serving", &device_.identity.serving_pem},
                                                               {"admin", &device_.identity.admin_pem},
                                                               {"device", &device_.identity.peer_pem}};
    w.begin_array();
    for (const auto& [what, pem] : rows) {
      const auto certificate = pki::parse_certificate(*pem);
      if (!certificate) continue;
      w.begin_object().field("name", what);
      w.field("notAfter", rfc3339({certificate->not_after, 0}));
      w.field("daysLeft", (certificate->not_after - device_.clock.wall().seconds) / pki::day_seconds);
      w.end_object();
    }
    w.end_array();
  }

  void describe_store(json::Writer& w) const {
    const store::Stats s = device_.store->stats();
    w.begin_object().field("revision", device_.store->durable().revision());
    w.field("objects", signed_number(s.keys)).field("fileBytes", signed_number(s.file_bytes));
    w.field("walBytes", signed_number(s.wal_bytes)).field("sqlite", device_.store->sqlite_version());
    w.end_object();
  }

  void describe_disk(json::Writer& w) const {
    struct statvfs fs{};
    const bool known = statvfs(device_.paths.data_dir.c_str(), &fs) == 0;
    w.begin_object().field("path", device_.paths.data_dir);
    if (known) {
      w.field("totalBytes", signed_number(uint64_t{fs.f_blocks} * fs.f_frsize));
      w.field("freeBytes", signed_number(uint64_t{fs.f_bavail} * fs.f_frsize));
    }
    w.end_object();
  }

  Device& device_;
  std::unique_ptr<LocalApi> local_;
  Collectors counted_;  // an agent's
  int64_t started_ms_ = 0;
};

}  // namespace

std::unique_ptr<Part> make_local_part(Device& device) { return std::make_unique<LocalPart>(device); }

}  // namespace limpet::daemon
