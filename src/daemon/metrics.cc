#include "daemon/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "base/atomic_file.h"
#include "loop/turns.h"

namespace limpet::daemon {
namespace {

double number(uint64_t n) { return static_cast<double>(n); }
double number(int64_t n) { return static_cast<double>(n); }

double open_descriptors() {
  DIR* dir = opendir("/proc/self/fd");
  if (!dir) return 0;
  int count = -3;  // ".", ".." and the directory itself
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

double resident_bytes() {
  auto text = read_file("/proc/self/statm", 256);
  unsigned long long total = 0, resident = 0;
  if (!text || sscanf(text->c_str(), "%llu %llu", &total, &resident) != 2) return 0;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}

}  // namespace

void describe_store(api::MetricsText& out, const store::Stats& s) {
  out.one("limpet_store_commits_total", "counter", "Groups of transactions written together.",
          number(s.commits));
  out.one("limpet_store_transactions_total", "counter",
          "Transactions asked for, also those that were refused.", number(s.transactions));
  out.one("limpet_store_conflicts_total", "counter", "Commits whose precondition failed.",
          number(s.conflicts));
  out.one("limpet_store_fsyncs_total", "counter", "Syncs of the database.", number(s.fsyncs));
  out.one("limpet_store_file_reads_total", "counter", "Values read from the file, not from memory.",
          number(s.reads_from_file));
  out.one("limpet_store_compactions_total", "counter", "Rounds of compaction.", number(s.compactions));
  out.one("limpet_store_events_total", "counter", "Changes told to watchers.", number(s.events));
  out.one("limpet_store_lost_watches_total", "counter", "Watches that fell behind the history.",
          number(s.lost_watches));
  out.one("limpet_store_watchers", "gauge", "Watches open.", number(s.watchers));
  out.one("limpet_store_keys", "gauge", "Objects stored.", number(s.keys));
  out.one("limpet_store_cache_bytes", "gauge", "Values in memory.", number(s.cache_bytes));
  out.one("limpet_store_file_bytes", "gauge", "Size of the database.", number(s.file_bytes));
  out.one("limpet_store_wal_bytes", "gauge", "Size of its log.", number(s.wal_bytes));
  out.one("limpet_store_commit_max_seconds", "gauge", "Longest commit so far.",
          number(s.commit_ms_max) / 1000);
}

void describe_loop(api::MetricsText& out, loop::Loop& loop) {
  out.one("limpet_loop_handles", "gauge", "Handles and pool requests of the event loop.",
          static_cast<double>(loop.live_handles()));
  const loop::TurnStats& s = loop::turn_stats(loop);
  out.family("limpet_loop_turn_seconds", "histogram",
             "Time the event loop was busy in one turn, waiting for events left out.");
  for (size_t i = 0; i < s.within.size(); ++i) {
    out.sample("limpet_loop_turn_seconds_bucket", {{"le", strf("%g", loop::TurnStats::bounds_s[i])}},
               number(s.within[i]));
  }
  out.sample("limpet_loop_turn_seconds_bucket", {{"le", "+Inf"}}, number(s.turns));
  out.sample("limpet_loop_turn_seconds_sum", s.busy_s);
  out.sample("limpet_loop_turn_seconds_count", number(s.turns));
  out.one("limpet_loop_turn_max_seconds", "gauge", "Longest turn so far.", s.longest_s);
}

void describe_tls(api::MetricsText& out, const tls::Stats& s) {
  out.one("limpet_tls_connections", "gauge", "TLS connections, handshaking or established.",
          number(s.connections));
  out.one("limpet_tls_connection_bytes", "gauge", "Memory they hold, estimated.", number(s.connection_bytes));
  out.one("limpet_tls_handshakes_waiting", "gauge", "Handshakes that wait for the pool.",
          number(s.handshakes_waiting));
  out.family("limpet_tls_handshakes_total", "counter", "Handshakes by result.");
  out.sample("limpet_tls_handshakes_total", {{"result", "ok"}}, number(s.handshakes_ok));
  out.sample("limpet_tls_handshakes_total", {{"result", "failed"}}, number(s.handshakes_failed));
  out.sample("limpet_tls_handshakes_total", {{"result", "refused"}}, number(s.handshakes_refused));
  out.one("limpet_tls_handshakes_resumed_total", "counter", "Handshakes that resumed a session.",
          number(s.handshakes_resumed));
}

void describe_http(api::MetricsText& out, const http::ServerCounters* https,
                   const http::ServerCounters& socket) {
  struct Row {
    const char *name, *type, *help;
    int64_t http::ServerCounters::* member;
  };
  using Counters = http::ServerCounters;
  const Row rows[] = {
      {"limpet_http_connections", "gauge", "Connections open.", &Counters::open_connections},
      {"limpet_http_websockets", "gauge", "WebSockets open.", &Counters::websockets},
      {"limpet_http_accepted_total", "counter", "Connections accepted.", &Counters::accepted},
      {"limpet_http_refused_total", "counter", "Connections over the limit.", &Counters::refused},
      {"limpet_http_requests_total", "counter", "Requests that reached the API.", &Counters::requests},
      {"limpet_http_bad_requests_total", "counter", "Requests that were not HTTP.", &Counters::bad_requests},
      {"limpet_http_timeouts_total", "counter", "Connections closed at a deadline.", &Counters::timeouts},
      {"limpet_http_received_bytes_total", "counter", "Bytes in.", &Counters::bytes_in},
      {"limpet_http_sent_bytes_total", "counter", "Bytes out.", &Counters::bytes_out},
  };
  for (const Row& row : rows) {
    out.family(row.name, row.type, row.help);
    if (https) out.sample(row.name, {{"listener", "https"}}, number(https->*row.member));
    out.sample(row.name, {{"listener", "socket"}}, number(socket.*row.member));
  }
}

void describe_images(api::MetricsText& out, const image::Traffic& traffic,
                     const std::vector<image::PullStatus>& pulls, uint64_t pulled, uint64_t failed) {
  out.family("limpet_image_received_bytes_total", "counter", "Bytes received from registries and mirrors.");
  for (const auto& [registry, bytes] : traffic.received)
    out.sample("limpet_image_received_bytes_total", {{"registry", registry}}, number(bytes));
  out.one("limpet_image_resumed_bytes_total", "counter",
          "Bytes of interrupted downloads that were not fetched again.", number(traffic.resumed));
  out.one("limpet_image_discarded_bytes_total", "counter", "Bytes of downloads that had to be begun anew.",
          number(traffic.discarded));
  out.one("limpet_image_resumes_total", "counter", "Downloads gone on with where they broke off.",
          number(traffic.breaks));
  out.family("limpet_image_pulls_total", "counter", "Pulls that ended.");
  out.sample("limpet_image_pulls_total", {{"result", "ok"}}, number(pulled));
  out.sample("limpet_image_pulls_total", {{"result", "failed"}}, number(failed));
  uint64_t running = 0, done = 0, total = 0;
  for (const image::PullStatus& p : pulls) {
    running += p.running ? 1 : 0;
    done += p.done;
    total += p.total;
  }
  out.family("limpet_image_pulls", "gauge", "Pulls by state.");
  out.sample("limpet_image_pulls", {{"state", "running"}}, number(running));
  out.sample("limpet_image_pulls", {{"state", "waiting"}}, number(pulls.size() - running));
  out.one("limpet_image_pull_done_bytes", "gauge", "Of the pulls under way, what is here.", number(done));
  out.one("limpet_image_pull_total_bytes", "gauge", "Of the pulls under way, as far as known.",
          number(total));
}

void describe_link(api::MetricsText& out, const AgentLink& link) {
  const AgentLink::Counts& c = link.counts();
  out.family("limpet_agent_link_up", "gauge", "Whether a server holds this agent, and which.");
  out.sample("limpet_agent_link_up", {{"server", link.server()}}, link.server().empty() ? 0 : 1);
  out.one("limpet_agent_link_connects_total", "counter", "Times that a server took this agent.",
          number(c.connects));
  out.one("limpet_agent_link_failures_total", "counter",
          "Servers that could not be reached, and connections that broke.", number(c.failures));
  out.family("limpet_agent_streams_total", "counter", "Streams that servers asked for (logs, exec).");
  out.sample("limpet_agent_streams_total", {{"result", "ok"}}, number(c.streams));
  out.sample("limpet_agent_streams_total", {{"result", "failed"}}, number(c.stream_failures));
}

void describe_heartbeats(api::MetricsText& out, const node::LeaseKeeper& lease) {
  out.family("limpet_heartbeats_total", "counter", "Heartbeats of this device by what became of them.");
  out.sample("limpet_heartbeats_total", {{"result", "heard"}}, number(lease.heard()));
  out.sample("limpet_heartbeats_total", {{"result", "failed"}}, number(lease.failed()));
}

void describe_process(api::MetricsText& out) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  out.one("process_cpu_seconds_total", "counter", "CPU time of the daemon.",
          seconds(usage.ru_utime) + seconds(usage.ru_stime));
  out.one("process_resident_memory_bytes", "gauge", "Resident memory of the daemon.", resident_bytes());
  out.one("process_open_fds", "gauge", "Open descriptors.", open_descriptors());
}

}  // namespace limpet::daemon
