#include "cli/options.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "cli/format.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

using Words = std::vector<std::string>;

// What a command line means, as one line; errors begin with "! ".
std::string meaning(const Words& words) {
  const auto a = parse_arguments(words);
  if (!a) return "! " + a.error().message;
  std::string out = a->command.empty() ? "none" : a->command;
  for (const std::string& p : a->positional) out += " " + p;
  if (a->has_rest) out += " --";
  for (const std::string& r : a->rest) out += " " + r;
  const std::pair<bool, const char*> flags[] = {{a->json, "json"},         {a->all_namespaces, "all"},
                                                {a->follow, "follow"},     {a->previous, "previous"},
                                                {a->timestamps, "stamps"}, {a->in, "in"},
                                                {a->tty, "tty"},           {a->help, "help"}};
  for (const auto& [set, name] : flags) {
    if (set) out += std::string(" +") + name;
  }
  if (a->ns != "default") out += " ns=" + a->ns;
  if (!a->container.empty()) out += " container=" + a->container;
  if (!a->socket.empty()) out += " socket=" + a->socket;
  if (a->config_given) out += " config=" + a->config;
  if (a->tail) out += " tail=" + std::to_string(*a->tail);
  if (a->since_s) out += " since=" + std::to_string(*a->since_s);
  return out;
}

}  // namespace

TEST_CASE("what command lines mean") {
  const std::pair<Words, const char*> rows[] = {
      {{}, "none"},
      {{"ps"}, "ps"},
      {{"ps", "-A", "-o", "json"}, "ps +json +all"},
      {{"ps", "-ojson"}, "ps +json"},
      {{"ps", "-o=json"}, "ps +json"},
      {{"ps", "--output=json", "--namespace", "kube-system"}, "ps +json ns=kube-system"},
      {{"-n", "x", "ps"}, "ps ns=x"},
      {{"--socket", "/s", "ps"}, "ps socket=/s"},
      {{"--config=/c", "status"}, "status config=/c"},
      {{"logs", "web", "-f", "--tail", "5", "--since=1h30m"}, "logs web +follow tail=5 since=5400"},
      {{"logs", "-t", "-p", "web/app"}, "logs web/app +previous +stamps"},
      {{"logs", "-tpf", "web"}, "logs web +follow +previous +stamps"},
      {{"-t", "logs", "web"}, "logs web +stamps"},
      {{"exec", "-it", "web", "--", "sh", "-c", "ls"}, "exec web -- sh -c ls +in +tty"},
      {{"-it", "exec", "web", "--", "sh"}, "exec web -- sh +in +tty"},
      {{"exec", "web", "-c", "app", "--", "ls", "--help"}, "exec web -- ls --help container=app"},
      {{"exec", "web", "-capp", "--", "ls", "--"}, "exec web -- ls -- container=app"},
      {{"image", "ls"}, "image ls"},
      {{"image", "pull", "busybox:1"}, "image pull busybox:1"},
      {{"image", "import", "-"}, "image import -"},
      {{"image", "-o", "json", "ls"}, "image ls +json"},
      {{"backup", "a"}, "backup a"},
      {{"backup", "keygen", "a"}, "backup keygen a"},
      {{"ps", "--help"}, "ps +help"},
      {{"help"}, "none +help"},
      {{"help", "logs"}, "logs +help"},
      {{"image", "--help"}, "image ls +help"},
      {{"exec", "-h"}, "exec +help"},
      {{"--help"}, "none +help"},
  };
  for (const auto& [words, expected] : rows) {
    CAPTURE(expected);
    CHECK_EQ(meaning(words), expected);
  }
}

TEST_CASE("what is wrong with a command line is said") {
  const std::pair<Words, const char*> rows[] = {
      {{"nope"}, "! there is no command nope"},
      {{"image"}, "! image needs one of"},
      {{"image", "frob"}, "! image needs one of"},
      {{"-o", "json"}, "! which command?"},
      {{"ps", "web"}, "! what is web for?"},
      {{"ps", "-x"}, "! there is no option -x"},
      {{"ps", "--x=1"}, "! there is no option --x"},
      {{"ps", "-f"}, "! ps takes no -f"},
      {{"ps", "-A", "-t"}, "! ps takes no -t"},
      {{"status", "--namespace=x"}, "! status takes no --namespace"},
      {{"ps", "-n"}, "! -n needs a value"},
      {{"ps", "--namespace="}, "! --namespace: the value is empty"},
      {{"exec", "web", "-c", "--", "ls"}, "! -c needs a value"},
      {{"ps", "-o", "yaml"}, "! -o: the only output format is json"},
      {{"ps", "--all-namespaces=yes"}, "! --all-namespaces takes no value"},
      {{"logs"}, "! usage: limpet logs"},
      {{"logs", "a", "b"}, "! what is b for?"},
      {{"logs", "a", "--tail", "-1"}, "! --tail: a number of lines"},
      {{"logs", "a", "--tail", "99999999999999999999"}, "! --tail: a number of lines"},
      {{"logs", "a", "--since", "0s"}, "! --since: a time is wanted"},
      {{"backup"}, "! usage: limpet backup FILE"},
      {{"backup", "keygen"}, "! usage: limpet backup keygen FILE"},
      {{"backup", "keygen", "a", "--force"}, "! backup keygen takes no --force"},
      {{"restore", "a", "--recipient", "k"}, "! restore takes no --recipient"},
      {{"exec", "web"}, "! the command to run stands behind --"},
      {{"exec", "web", "--"}, "! the command to run stands behind --"},
      {{"exec", "web", "ls"}, "! the command to run stands behind --"},
      {{"exec", "--", "ls"}, "! usage: limpet exec"},
      {{"ps", "--", "x"}, "! nothing may stand behind --"},
      {{""}, "! there is no command"},
  };
  for (const auto& [words, expected] : rows) {
    CAPTURE(expected);
    const std::string got = meaning(words);
    CAPTURE(got);
    CHECK(got.starts_with(expected));
  }
}

TEST_CASE("durations") {
  const std::pair<const char*, int64_t> rows[] = {
      {"90", 90}, {"90s", 90}, {"15m", 900}, {"1h30m", 5400}, {"2d", 172800}, {"1d1h1m1s", 90061}, {"", -1},
      {"s", -1},  {"3x", -1},  {"-5m", -1},  {"1h-5m", -1},   {"0", -1},      {"99999999999d", -1}};
  for (const auto& [text, seconds] : rows) {
    CAPTURE(text);
    CHECK_EQ(parse_duration(text).value_or(-1), seconds);
  }
}

TEST_CASE("every help page keeps within 80 columns and shows examples and exit codes") {
  std::vector<std::string> pages{""};
  for (const Command& c : commands()) pages.push_back(c.name);
  for (const std::string& page : pages) {
    const std::string text = help_text(page);
    CAPTURE(page);
    CHECK(text.find("Exit status: 0 done") != std::string::npos);
    if (!page.empty()) CHECK(text.find("Examples:\n  limpet " + page) != std::string::npos);
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      REQUIRE(end != std::string::npos);
      const std::string line = text.substr(at, end - at);
      CAPTURE(line);
      CHECK_LE(columns_of(line), 80);
      at = end + 1;
    }
  }
}

TEST_CASE("the tables agree with each other") {
  for (const Option& o : options()) {
    if (!o.commands) continue;
    size_t found = 0;
    for (const Command& c : commands()) found += applies(o, c.name);
    const std::string_view list = o.commands;
    CAPTURE(o.name);
    CHECK_EQ(found, static_cast<size_t>(std::count(list.begin(), list.end(), ' ')) + 1);
  }
}
