// The numbers behind /metrics, in Prometheus' text format (version 0.0.4).
//
// Rooms keep their own counters; the wiring registers one collector per room, called at each scrape, so that
// nothing runs while nobody asks. Counters and histograms of the API itself are kept here. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace limpet::api {

// Appends families to the text of one scrape.
class MetricsText {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  // Starts a family; `type` is counter, gauge or histogram.
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::string_view name, Labels labels, double value);
  void sample(std::string_view name, double value) { sample(name, {}, value); }
  // Family and its only sample at once.
  void one(std::string_view name, std::string_view type, std::string_view help, double value);
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Metrics {
 public:
  using Collector = std::function<void(MetricsText&)>;
  // Registering a name again replaces its collector; an empty function removes it.
  void add(std::string name, Collector f);
  std::string scrape() const;

  // One request served. The set of labels is bounded: unknown resources and verbs are counted as "other".
  void count_request(std::string_view verb, std::string_view resource, int code, int64_t duration_ms);
  int64_t in_flight = 0, watches = 0;
  uint64_t rejected_in_flight = 0, watch_events = 0, authentication_failures = 0;
  uint64_t forwarded = 0, forward_failures = 0;  // to the leader; and those that had no answer from it

 private:
  struct Series {
    uint64_t count = 0;
    double sum_s = 0;
    uint64_t buckets[7] = {};
  };
  void own(MetricsText& out) const;

  std::map<std::string, Collector, std::less<>> collectors_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;  // "verb\nresource", code
  std::map<std::string, Series, std::less<>> durations_;      // verb
};

}  // namespace limpet::api
