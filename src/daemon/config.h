// limpetd's configuration: one YAML file checked against one table of keys.
//
// Every key is declared once, in config_keys.cc: path, type, default, range or format, whether SIGHUP takes
// it over, documentation. Unknown and ill-typed keys are errors with line, column and the nearest known key.
// configs/limpetd.yaml documents every key with its default (a unit test compares). Pure except
// load_config().
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "daemon/formats.h"

namespace limpet::daemon {

using Strings = std::vector<std::string>;
using StringMap = std::map<std::string, std::string>;
using StringsMap = std::map<std::string, Strings>;

// Values after defaults. Empty strings mean "derived", by whoever needs them, as the key's documentation
// says.
struct Config {
  std::string node_name, role, data_dir, run_dir, admin_kubeconfig, manifests_dir, cgroup_root;
  struct Listen {
    std::string api_address, peers_address, socket, socket_group;
    int64_t api_port = 0, peers_port = 0;
    bool operator==(const Listen&) const = default;
  } listen;
  struct Join {
    std::string url, token, token_file;
    bool operator==(const Join&) const = default;
  } join;
  struct Cluster {
    std::string profile;
    int64_t voters = 0, replace_lost_after_ms = 0;
    bool operator==(const Cluster&) const = default;
  } cluster;
  struct Tls {
    Strings names;
    bool operator==(const Tls&) const = default;
  } tls;
  struct Node {
    std::string address, dns_name, pod_cidr;
    StringMap labels;
    Strings taints;
    int64_t max_pods = 0;
    bool operator==(const Node&) const = default;
  } node;
  struct Network {
    std::string mode, bridge, pod_cidr, service_cidr, dns, cluster_domain;
    int64_t mtu = 0;
    bool operator==(const Network&) const = default;
  } network;
  struct Proxy {
    std::string http, https;
    Strings no_proxy;
    bool operator==(const Proxy&) const = default;
  } proxy;
  struct Registries {
    StringsMap mirrors;
    Strings insecure;
    std::string auth_file, ca_file;
    bool operator==(const Registries&) const = default;
  } registries;
  struct Runtime {
    std::string kind, path;
    bool operator==(const Runtime&) const = default;
  } runtime;
  struct Logs {
    std::string level, dir;
    int64_t container_max_bytes = 0, container_max_files = 0, total_bytes = 0;
    bool operator==(const Logs&) const = default;
  } logs;
  struct Images {
    std::string archives_dir;
    int64_t gc_high_percent = 0, gc_low_percent = 0, max_parallel_pulls = 0;
    bool operator==(const Images&) const = default;
  } images;
  struct Backup {
    std::string directory, recipient_file;
    int64_t every_ms = 0, keep = 0;
    bool operator==(const Backup&) const = default;
  } backup;
  struct Limits {
    int64_t api_connections = 0, api_idle_timeout_ms = 0;
    bool operator==(const Limits&) const = default;
  } limits;

  bool operator==(const Config&) const = default;
};

// Where a key's value goes; the alternative decides the YAML shape that is accepted.
using Target = std::variant<bool*, int64_t*, std::string*, Strings*, StringMap*, StringsMap*>;

enum class Number { plain, size, duration_ms };  // how an integer is written

struct Key {
  const char* path;          // "listen.api.port"
  const char* default_text;  // as in YAML: "6443", "10Mi", "" for an empty string, list or map
  const char* doc;           // one or two sentences
  Target (*target)(Config&);
  struct Rule {
    Format format = Format::text;      // of the string, of each list item, of each map value
    Format key_format = Format::text;  // of map keys
    bool may_be_empty = false;
    const char* choices = nullptr;  // "auto,crun,runc"
    Number number = Number::plain;
    int64_t min = 0, max = INT64_MAX;
    bool reload = false;  // taken over on SIGHUP
  } rule;
};

std::span<const Key> config_keys();

struct Problem {
  int line = 0, column = 0;  // 0: the file as a whole
  std::string message;
};

struct Checked {
  Config config;  // complete only when there are no problems
  std::vector<Problem> problems;
  size_t more_problems = 0;  // beyond the first 20
};
Checked check_config(std::string_view text);

// Reads and checks. The error's message has one line per problem, as a compiler prints them:
// FILE:LINE:COLUMN: message.
Result<Config> load_config(const std::string& path);

// The paths of keys that differ and that a reload cannot take over.
Strings needs_restart(const Config& running, const Config& wanted);
// `running` with everything taken over from `wanted` that can be.
Config reloaded(const Config& running, const Config& wanted);

}  // namespace limpet::daemon
