#include "schema/columns.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "schema/columns_pod.h"

namespace limpet::schema {

namespace {

using json::Cursor;

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return s;
}

std::string or_else(std::string s, const char* otherwise) { return s.empty() ? otherwise : s; }

std::string node_roles(Cursor node) {
  std::set<std::string> roles;
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  node["metadata"]["labels"].each([&](std::string_view key, Cursor value) {
    if (key.starts_with(kPrefix) && key.size() > kPrefix.size()) roles.emplace(key.substr(kPrefix.size()));
    if (key == "kubernetes.io/role" && !value.str().empty()) roles.insert(value.str());
    return true;
  });
  std::string out;
  for (const std::string& role : roles) out += (out.empty() ? "" : ",") + role;
  return or_else(out, "<none>");
}

std::string node_address(Cursor node, std::string_view type) {
  std::string found = "<none>";
  node["status"]["addresses"].each([&](std::string_view, Cursor address) {
    if (!address["type"].str_equals(type)) return true;
    found = address["address"].str();
    return false;
  });
  return found;
}

void node_cells(Cursor node, Cells& cells) {
  std::string status = "Unknown";
  node["status"]["conditions"].each([&](std::string_view, Cursor c) {
    if (c["type"].str_equals("Ready")) status = c["status"].str_equals("True") ? "Ready" : "NotReady";
    return true;
  });
  if (node["spec"]["unschedulable"].boolean()) status += ",SchedulingDisabled";
  const Cursor info = node["status"]["nodeInfo"];
  cells.text("status", status);
  cells.text("roles", node_roles(node));
  cells.text("version", info["kubeletVersion"].str());
  cells.text("internal-ip", node_address(node, "InternalIP"));
  cells.text("external-ip", node_address(node, "ExternalIP"));
  cells.text("os-image", or_else(info["osImage"].str(), "<unknown>"));
  cells.text("kernel-version", or_else(info["kernelVersion"].str(), "<unknown>"));
  cells.text("container-runtime", or_else(info["containerRuntimeVersion"].str(), "<unknown>"));
}

// Both APIs' events: core/v1 has the deprecated fields in place, events.k8s.io/v1 prefixes them.
Cursor either(Cursor event, const char* a, const char* b) {
  const Cursor found = event[a];
  return found ? found : event[b];
}

void event_cells(Cursor event, WallTime now, Cells& cells) {
  std::string first = age_of(either(event, "firstTimestamp", "deprecatedFirstTimestamp").str(), now);
  if (first == "<unknown>") first = age_of(event["eventTime"].str(), now);
  std::string last = age_of(either(event, "lastTimestamp", "deprecatedLastTimestamp").str(), now);
  if (last == "<unknown>") last = first;
  int64_t count = either(event, "count", "deprecatedCount").integer();
  if (const Cursor series = event["series"]; series.type() == json::Type::object) {
    last = age_of(series["lastObservedTime"].str(), now);
    count = series["count"].integer();
  } else if (count == 0) {
    count = 1;  // a single event of the newer API carries no count
  }
  const Cursor about = either(event, "involvedObject", "regarding");
  std::string object = lower(about["kind"].str());
  if (const std::string name = about["name"].str(); !name.empty()) object += "/" + name;
  const Cursor source = either(event, "source", "deprecatedSource");
  std::string reporter = source["component"].str(), host = source["host"].str();
  if (reporter.empty()) reporter = either(event, "reportingComponent", "reportingController").str();
  if (host.empty()) host = event["reportingInstance"].str();
  if (!host.empty()) reporter += ", " + host;
  cells.text("last seen", last);
  cells.text("type", event["type"].str());
  cells.text("reason", event["reason"].str());
  cells.text("object", object);
  cells.text("subobject", about["fieldPath"].str());
  cells.text("source", reporter);
  cells.text("message", std::string(trimmed(either(event, "message", "note").str())));
  cells.text("first seen", first);
  cells.number("count", count);
}

void kind_cells(std::string_view kind, Cursor object, WallTime now, Cells& cells) {
  if (kind == "Pod") {
    pod_cells(object, now, cells);
  } else if (kind == "Node") {
    node_cells(object, cells);
  } else if (kind == "Event") {
    event_cells(object, now, cells);
  } else if (kind == "Namespace") {
    cells.text("status", object["status"]["phase"].str());
  } else if (kind == "Secret") {
    cells.text("type", object["type"].str());
    cells.number("data", static_cast<int64_t>(object["data"].size()));
  } else if (kind == "ConfigMap") {
    cells.number("data", static_cast<int64_t>(object["data"].size() + object["binaryData"].size()));
  } else if (kind == "ServiceAccount") {
    cells.number("secrets", static_cast<int64_t>(object["secrets"].size()));
  } else if (kind == "Lease") {
    cells.text("holder", object["spec"]["holderIdentity"].str());
  } else if (kind == "Deployment") {
    deployment_cells(object, cells);
  } else if (kind == "ReplicaSet") {
    replica_set_cells(object, cells);
  }
}

}  // namespace

std::string human_duration(int64_t seconds) {
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return strf("%llds", static_cast<long long>(seconds));
  const auto whole_and_rest = [](int64_t a, char unit_a, int64_t b, char unit_b) {
    std::string out = std::to_string(a) + unit_a;
    if (b != 0) out += std::to_string(b) + unit_b;
    return out;
  };
  const int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (minutes < 10) return whole_and_rest(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return whole_and_rest(minutes, 'm', 0, 's');
  if (hours < 8) return whole_and_rest(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return whole_and_rest(hours, 'h', 0, 'm');
  if (hours < 24 * 8) return whole_and_rest(days, 'd', hours % 24, 'h');
  if (hours < 24 * 365 * 2) return whole_and_rest(days, 'd', 0, 'h');
  if (hours < 24 * 365 * 8) return whole_and_rest(days / 365, 'y', days % 365, 'd');
  return whole_and_rest(days / 365, 'y', 0, 'd');
}

std::string age_of(std::string_view time, WallTime now) {
  if (time.empty()) return "<unknown>";
  const auto then = parse_rfc3339(time);
  if (!then) return "<unknown>";
  int64_t seconds = now.seconds - then->seconds;
  if (seconds > 0 && now.nanos < then->nanos) seconds--;
  return human_duration(seconds);
}

void Cells::text(std::string_view column, std::string_view value) {
  cells_[std::string(column)] = json::quoted(value);
}
void Cells::number(std::string_view column, int64_t value) {
  cells_[std::string(column)] = std::to_string(value);
}
const std::string* Cells::find(std::string_view column) const {
  const auto it = cells_.find(lower(column));
  return it == cells_.end() ? nullptr : &it->second;
}

void write_cells(const Resource& resource, json::Cursor object, WallTime now, json::Writer& out) {
  Cells cells;
  const Cursor meta = object["metadata"];
  cells.text("name", meta["name"].str());
  cells.text("age", age_of(meta["creationTimestamp"].str(), now));
  cells.text("created at", meta["creationTimestamp"].str());
  kind_cells(resource.kind(), object, now, cells);
  out.begin_array();
  for (const Column& column : resource.columns()) {
    const std::string* cell = cells.find(column.name());
    if (cell != nullptr) {
      out.raw(*cell);
    } else {
      out.string("");
    }
  }
  out.end_array();
}

}  // namespace limpet::schema
