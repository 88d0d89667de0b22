#include "daemon/config.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/yaml.h"

using namespace limpet;
using namespace limpet::daemon;

namespace {

std::string source_file(const char* name) {
  const char* root = std::getenv("LIMPET_SOURCE");
  std::string path = std::string(root ? root : ".") + "/" + name, text;
  FILE* f = fopen(path.c_str(), "re");
  REQUIRE_MESSAGE(f != nullptr, "run from the source directory or set LIMPET_SOURCE: ", path);
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) text.append(buffer, n);
  fclose(f);
  return text;
}

void collect(const yaml::Node& node, const std::string& prefix, const std::set<std::string>& known,
             std::set<std::string>& out) {
  for (const auto& [name, member] : node.members) {
    const std::string path = prefix.empty() ? name.scalar : prefix + "." + name.scalar;
    if (member.kind == yaml::Node::Kind::mapping && !known.contains(path)) {
      collect(member, path, known, out);
    } else {
      out.insert(path);
    }
  }
}

std::string problems_of(std::string_view text) {
  const Checked checked = check_config(text);
  std::string out;
  for (const Problem& p : checked.problems) out += strf("%d:%d: %s\n", p.line, p.column, p.message.c_str());
  if (checked.more_problems) out += strf("and %zu more\n", checked.more_problems);
  return out;
}

}  // namespace

TEST_CASE("configs/limpetd.yaml names every key of the table and no others, with its default") {
  const std::string text = source_file("configs/limpetd.yaml");
  CHECK_EQ(problems_of(text), "");
  CHECK((check_config(text).config == check_config("").config));

  std::set<std::string> table, file;
  for (const Key& key : config_keys()) {
    CHECK_MESSAGE(table.insert(key.path).second, key.path);
    CHECK_MESSAGE(std::string_view(key.doc).ends_with('.'), key.path);
  }
  auto documents = yaml::parse(text);
  REQUIRE(documents.has_value());
  collect(documents->front(), "", table, file);
  for (const std::string& path : table) CHECK_MESSAGE(file.contains(path), path, " is missing in the file");
  for (const std::string& path : file) CHECK_MESSAGE(table.contains(path), path, " is not in the table");
}

TEST_CASE("every default passes its own check") {
  for (const Key& key : config_keys()) {
    CAPTURE(key.path);
    Config config;
    const Target target = key.target(config);
    const bool list = std::holds_alternative<Strings*>(target);
    const bool map =
        std::holds_alternative<StringMap*>(target) || std::holds_alternative<StringsMap*>(target);
    // Writes the key as YAML, one mapping per part of its path.
    std::string text, indent;
    std::string_view rest(key.path);
    for (size_t dot; (dot = rest.find('.')) != std::string_view::npos;
         rest.remove_prefix(dot + 1), indent += "  ") {
      text += indent + std::string(rest.substr(0, dot)) + ":\n";
    }
    const std::string value = list ? "[]" : map ? "{}" : *key.default_text ? key.default_text : "\"\"";
    text += indent + std::string(rest) + ": " + value + "\n";
    CHECK_EQ(problems_of(text), "");
    CHECK((check_config(text).config == check_config("").config));
  }
}

TEST_CASE("problems name line, column and what would be right") {
  struct Row {
    const char *text, *problems;
  };
  const Row rows[] = {
      {"", ""},
      {"# only a comment\n", ""},
      {"listen:\n", ""},
      {"nodeName:\n", ""},
      {"nodeNmae: a\n", "1:1: unknown key \"nodeNmae\"; did you mean \"nodeName\"?\n"},
      {"lisen: {}\n", "1:1: unknown key \"lisen\"; did you mean \"listen\"?\n"},
      {"listen:\n  api:\n    prot: 1\n",
       "3:5: unknown key \"listen.api.prot\"; did you mean \"listen.api.port\"?\n"},
      {"podCIDR: 10.0.0.0/8\n", "1:1: unknown key \"podCIDR\"; did you mean \"node.podCIDR\"?\n"},
      {"zzzzzzzzzzzzzz: 1\n", "1:1: unknown key \"zzzzzzzzzzzzzz\"\n"},
      {"nodeName: 7\n", "1:11: nodeName must be a string; write \"7\" in quotes\n"},
      {"nodeName: Edge\n",
       "1:11: nodeName must consist of lower case letters, digits, \"-\" and \".\", and start and end with a "
       "letter or "
       "digit\n"},
      {"nodeName: [a]\n", "1:11: nodeName must be a string, not a list\n"},
      {"dataDir: \"\"\n", "1:10: dataDir must not be empty\n"},
      {"listen: 6443\n", "1:9: listen must be a mapping, not a number\n"},
      {"listen: {api: {port: \"6443\"}}\n", "1:22: listen.api.port must be a number, not a string\n"},
      {"listen: {api: {port: 0}}\n", "1:22: listen.api.port must be 1 to 65535\n"},
      {"listen: {api: {port: 65536}}\n", "1:22: listen.api.port must be 1 to 65535\n"},
      {"listen: {api: {port: 64.5}}\n", "1:22: listen.api.port must be a whole number\n"},
      {"listen: {api: {port: -1}}\n", "1:22: listen.api.port must be a whole number\n"},
      {"tls: {names: a.example}\n", "1:14: tls.names must be a list of strings, not a string\n"},
      {"tls: {names: [a.example, \"b c\"]}\n", "1:26: tls.names[1] must be a DNS name or an IP address\n"},
      {"node: {labels: {zone: true}}\n",
       "1:23: node.labels[zone] must be a string; write \"true\" in quotes\n"},
      {"node:\n  taints: [\"a=b\"]\n",
       "2:12: node.taints[0] must be key[=value]:Effect with NoSchedule, PreferNoSchedule or NoExecute\n"},
      {"runtime: {kind: docker}\n", "1:17: runtime.kind must be one of auto,crun,runc\n"},
      {"logs: {containerMaxSize: 1 MB}\n", "1:26: logs.containerMaxSize must be a size such as 10Mi or 1G\n"},
      {"logs: {containerMaxSize: 1}\n", "1:26: logs.containerMaxSize must be 4096 to 1099511627776\n"},
      {"network: {dns: 10.44.0.10}\n", "1:16: network.dns is not within network.serviceCIDR\n"},
      {"network: {podCIDR: 10.43.0.0/16}\n", "0:0: network.serviceCIDR overlaps network.podCIDR\n"},
      {"node: {podCIDR: 10.50.0.0/24}\n", "1:17: node.podCIDR is not within network.podCIDR\n"},
      {"join: {url: http://a:6443}\n",
       "1:13: join.url must begin with https://: a token is not sent in the clear\n"},
      {"join: {token: limpet1.a.b.c}\n", "1:15: join.token needs join.url, where it was made\n"},
      {"join: {tokenFile: /etc/limpet/token}\n", "1:19: join.tokenFile needs join.url, where it was made\n"},
      {"join: {url: https://a:6443, token: t, tokenFile: /t}\n",
       "1:50: join.tokenFile stands beside join.token: one of the two\n"},
      {"images: {gcLowPercent: 90}\n", "1:24: images.gcLowPercent is above images.gcHighPercent\n"},
      {"backup: {directory: /mnt/usb}\n",
       "1:21: backup.directory needs backup.recipientFile: scheduled backups are sealed for a recipient\n"},
      {"backup: {directory: /mnt/usb, recipientFile: /k.pub, every: 0s}\n",
       "1:61: backup.every must be 1000ms to 31622400000ms\n"},
      {"registries: {mirrors: {docker.io: [ftp://a]}}\n",
       "1:36: registries.mirrors[docker.io][0] must be a URL such as http://proxy.example:3128\n"},
      {"- a\n", "1:1: the file must hold a mapping of keys, not a list\n"},
      {"just text\n", "1:1: the file must hold a mapping of keys, not a string\n"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK_EQ(problems_of(row.text), row.problems);
  }
}

TEST_CASE("broken YAML is one problem with its place") {
  for (const char* text :
       {"a: [1", "a: b: c\n", "nodeName: a\nnodeName: b\n", "a: &x 1\nb: *x\n", "\ta: 1\n", "a: \xff\n"}) {
    CAPTURE(text);
    const Checked checked = check_config(text);
    REQUIRE_EQ(checked.problems.size(), 1);
    CHECK_GT(checked.problems[0].line, 0);
  }
}

TEST_CASE("at most twenty problems are kept, the rest is counted") {
  std::string text;
  for (int i = 0; i < 33; i++) text += strf("unknown%d: 1\n", i);
  const Checked checked = check_config(text);
  CHECK_EQ(checked.problems.size(), 20);
  CHECK_EQ(checked.more_problems, 13);
}

TEST_CASE("values arrive where they belong") {
  const Checked checked = check_config(R"(
nodeName: edge-1
listen: {api: {address: "::", port: 7443}, socket: /run/x.sock}
tls: {names: [edge.example, 192.0.2.1]}
node:
  labels: {zone: shore, example.com/x: ""}
  taints: [dedicated=gpu:NoSchedule]
registries:
  mirrors: {docker.io: [https://a.example, "http://127.0.0.1:5000"]}
logs: {containerMaxSize: 64Ki, level: debug}
limits: {apiIdleTimeout: 90s}
)");
  REQUIRE(checked.problems.empty());
  const Config& c = checked.config;
  CHECK_EQ(c.node_name, "edge-1");
  CHECK_EQ(c.listen.api_address, "::");
  CHECK_EQ(c.listen.api_port, 7443);
  CHECK_EQ(c.listen.socket, "/run/x.sock");
  CHECK((c.tls.names == Strings{"edge.example", "192.0.2.1"}));
  CHECK((c.node.labels == StringMap{{"zone", "shore"}, {"example.com/x", ""}}));
  CHECK((c.node.taints == Strings{"dedicated=gpu:NoSchedule"}));
  CHECK((c.registries.mirrors == StringsMap{{"docker.io", {"https://a.example", "http://127.0.0.1:5000"}}}));
  CHECK_EQ(c.logs.container_max_bytes, 65536);
  CHECK_EQ(c.logs.level, "debug");
  CHECK_EQ(c.limits.api_idle_timeout_ms, 90000);
  CHECK_EQ(c.data_dir, "/var/lib/limpet");
}

TEST_CASE("a reload takes over what it can and names the rest") {
  const Config running = check_config("nodeName: a\nlogs: {level: info}\n").config;
  const Config wanted =
      check_config("nodeName: b\nlogs: {level: debug}\nlisten: {api: {port: 7000}}\n").config;
  CHECK((needs_restart(running, wanted) == Strings{"nodeName", "listen.api.port"}));
  const Config now = reloaded(running, wanted);
  CHECK_EQ(now.node_name, "a");
  CHECK_EQ(now.logs.level, "debug");
  CHECK_EQ(now.listen.api_port, 6443);
  CHECK(needs_restart(now, running).empty());
}

TEST_CASE("load_config prints problems as a compiler does, and says what cannot be read") {
  auto missing = load_config("/nonexistent/limpetd.yaml");
  REQUIRE(!missing.has_value());
  CHECK_EQ(missing.error().message, "open /nonexistent/limpetd.yaml: No such file or directory");

  char path[] = "/tmp/limpet-config-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE_GE(fd, 0);
  const std::string_view text = "nodeNmae: a\nlisten: 1\n";
  REQUIRE_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(fd);
  auto bad = load_config(path);
  unlink(path);
  REQUIRE(!bad.has_value());
  const std::string p(path);
  CHECK_EQ(bad.error().message, p + ":1:1: unknown key \"nodeNmae\"; did you mean \"nodeName\"?\n" + p +
                                    ":2:9: listen must be a mapping, not a number");
}
