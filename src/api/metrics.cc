#include "api/metrics.h"

#include <cmath>

#include "base/result.h"

namespace limpet::api {
namespace {

constexpr double kBounds[] = {0.005, 0.025, 0.1, 0.5, 1, 5, 30};
constexpr size_t kMaxSeries = 1000;

void append_number(std::string& out, double v) {
  if (v == std::floor(v) && std::fabs(v) < 9e15) {
    out += std::to_string(static_cast<long long>(v));
  } else {
    out += strf("%.9g", v);
  }
}

void append_label(std::string& out, std::string_view value) {
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  out_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ");
  out_.append(name).append(" ").append(type).append("\n");
}

void MetricsText::sample(std::string_view name, Labels labels, double value) {
  out_.append(name);
  char open = '{';
  for (const auto& [k, v] : labels) {
    out_ += open;
    open = ',';
    out_.append(k).append("=\"");
    append_label(out_, v);
    out_ += '"';
  }
  if (open == ',') out_ += '}';
  out_ += ' ';
  append_number(out_, value);
  out_ += '\n';
}

void MetricsText::one(std::string_view name, std::string_view type, std::string_view help, double value) {
  family(name, type, help);
  sample(name, value);
}

void Metrics::add(std::string name, Collector f) {
  if (f) {
    collectors_[std::move(name)] = std::move(f);
  } else {
    collectors_.erase(name);
  }
}

void Metrics::count_request(std::string_view verb, std::string_view resource, int code, int64_t duration_ms) {
  std::string key = std::string(verb) + "\n" + std::string(resource);
  if (requests_.size() >= kMaxSeries && !requests_.contains({key, code})) key = "other\nother";
  ++requests_[{key, code}];
  Series& s = durations_[std::string(verb)];
  double seconds = static_cast<double>(duration_ms) / 1000;
  ++s.count;
  s.sum_s += seconds;
  for (size_t i = 0; i < std::size(kBounds); ++i) {
    if (seconds <= kBounds[i]) ++s.buckets[i];
  }
}

void Metrics::own(MetricsText& out) const {
  out.family("apiserver_request_total", "counter", "Requests served, by verb, resource and status code.");
  for (const auto& [key, n] : requests_) {
    size_t cut = key.first.find('\n');
    std::string_view name = key.first;
    std::string code = std::to_string(key.second);
    out.sample("apiserver_request_total",
               {{"verb", name.substr(0, cut)}, {"resource", name.substr(cut + 1)}, {"code", code}},
               static_cast<double>(n));
  }
  out.family("apiserver_request_duration_seconds", "histogram", "Time to serve a request, watches excluded.");
  for (const auto& [verb, s] : durations_) {
    for (size_t i = 0; i < std::size(kBounds); ++i) {
      std::string le = strf("%g", kBounds[i]);
      out.sample("apiserver_request_duration_seconds_bucket", {{"verb", verb}, {"le", le}},
                 static_cast<double>(s.buckets[i]));
    }
    out.sample("apiserver_request_duration_seconds_bucket", {{"verb", verb}, {"le", "+Inf"}},
               static_cast<double>(s.count));
    out.sample("apiserver_request_duration_seconds_sum", {{"verb", verb}}, s.sum_s);
    out.sample("apiserver_request_duration_seconds_count", {{"verb", verb}}, static_cast<double>(s.count));
  }
  out.one("apiserver_current_inflight_requests", "gauge", "Requests being served, watches excluded.",
          static_cast<double>(in_flight));
  out.one("apiserver_longrunning_requests", "gauge", "Watches, logs and sessions open now.",
          static_cast<double>(watches));
  out.one("apiserver_watch_events_total", "counter", "Events sent to watchers.",
          static_cast<double>(watch_events));
  out.one("apiserver_rejected_requests_total", "counter", "Requests refused because too many were in flight.",
          static_cast<double>(rejected_in_flight));
  out.one("apiserver_authentication_failures_total", "counter",
          "Requests with credentials that did not hold.", static_cast<double>(authentication_failures));
  out.one("limpet_api_forwarded_requests_total", "counter", "Requests handed to the leader of the cluster.",
          static_cast<double>(forwarded));
  out.one("limpet_api_forward_failures_total", "counter",
          "Requests for the leader of the cluster that got no answer from it.",
          static_cast<double>(forward_failures));
}

std::string Metrics::scrape() const {
  MetricsText out;
  own(out);
  for (const auto& [name, f] : collectors_) f(out);
  return out.take();
}

}  // namespace limpet::api
