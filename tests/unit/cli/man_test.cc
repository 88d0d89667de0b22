// The manual pages say what the tables say: they are made here, and compared with the files that are
// installed. LIMPET_WRITE_MAN=1 writes them.
#include <doctest/doctest.h>

#include <cstdlib>

#include "base/atomic_file.h"
#include "cli/options.h"
#include "daemon/config.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

// As text of mdoc(7): nothing of it is a request or an escape.
std::string plain(std::string_view text) {
  std::string out;
  bool start = true;
  for (const char c : text) {
    if (start && (c == '.' || c == '\'')) out += "\\&";
    out += c == '\\' ? std::string("\\e") : std::string(1, c);
    start = c == '\n';
  }
  return out;
}

// Prose: every sentence begins a line, as mdoc(7) wants it.
std::string prose(std::string_view text) {
  std::string out = plain(text);
  for (size_t at = 0; (at = out.find(". ", at)) != std::string::npos; at++) out[at + 1] = '\n';
  return out;
}

std::string option_item(const Option& o) {
  std::string out = ".It";
  if (o.letter) out += std::string(" Fl ") + o.letter;
  if (o.letter && o.name) out += " ,";
  if (o.name) out += std::string(" Fl Fl ") + o.name;
  if (o.value) out += std::string(" Ar ") + o.value;
  return out + "\n" + prose(o.doc) + ".\n";
}

std::string option_list(std::string_view command, bool general) {
  std::string out;
  for (const Option& o : options()) {
    if ((o.commands == nullptr) == general && applies(o, command)) out += option_item(o);
  }
  return out.empty() ? "" : ".Bl -tag -width Ds\n" + out + ".El\n";
}

std::string heading(const char* title, int section, const char* name, const char* about) {
  return std::string(
             ".\\\" Made from the tables of the source by tests/unit/cli/man_test.cc.\n.Dd November 26, "
             "2026\n.Dt ") +
         title + " " + std::to_string(section) + "\n.Os limpet\n.Sh NAME\n.Nm " + name + "\n.Nd " + about +
         "\n";
}

std::string limpet_1() {
  std::string out = heading("LIMPET", 1, "limpet", "what runs on this device, asked from its limpetd");
  out +=
      ".Sh SYNOPSIS\n.Nm\n.Op Ar option ...\n.Ar command\n.Op Ar operand ...\n.Sh DESCRIPTION\n.Nm\n"
      "asks the\n.Xr limpetd 8\nof the same device over its unix socket: it needs no network and no "
      "kubeconfig.\n"
      "Root may do everything, members of the group limpet may look.\n.Sh COMMANDS\n";
  for (const Command& c : commands()) {
    out += ".Ss limpet " + plain(c.name) + (*c.operands ? " " + plain(c.operands) : "") + "\n" +
           prose(c.summary) + ".\n";
    if (c.details) out += ".Pp\n" + prose(c.details);
    const std::string own = option_list(c.name, false);
    if (!own.empty()) out += own;
    out += ".Bd -literal\n" + plain(c.examples) + ".Ed\n";
  }
  out += ".Sh OPTIONS\nEvery command takes:\n" + option_list("", true);
  out +=
      ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n.It Ev NO_COLOR\nNo colours, also on a terminal.\n.El\n"
      ".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/limpet/limpetd.yaml\nSays where the socket is.\n"
      ".It Pa /run/limpet/limpet.sock\nThe socket, unless it says otherwise.\n.El\n";
  out +=
      ".Sh EXIT STATUS\n.Bl -tag -width Ds\n.It 0\nDone.\n.It 1\nFailed, or, for the commands that say so, "
      "something is wrong.\n.It 2\nWrong arguments.\n.It 3\nlimpetd does not answer.\n"
      ".It 4\nWhat was named does not exist.\n.El\n.Pp\nThe exit status of\n.Cm exec\n"
      "is that of the command in the container.\n.Sh SEE ALSO\n.Xr limpetd.yaml 5 ,\n.Xr limpetd 8\n";
  return out;
}

std::string limpetd_yaml_5() {
  std::string out = heading("LIMPETD.YAML", 5, "limpetd.yaml", "configuration of limpetd");
  out +=
      ".Sh DESCRIPTION\n.Pa /etc/limpet/limpetd.yaml\nis one YAML document.\nEvery key may be left out; "
      "unknown keys are errors.\nA key\n"
      ".Ql a.b\nis written as b below a.\nKeys marked [reload] are taken over at\n.Dv SIGHUP ,\nthe others "
      "at the next start.\n.Bl -tag -width Ds\n";
  for (const daemon::Key& k : daemon::config_keys()) {
    out += std::string(".It Cm ") + k.path + "\n" + prose(k.doc) + "\n";
    if (*k.default_text) out += "Default:\n.Ql " + plain(k.default_text) + " .\n";
    if (k.rule.choices) {
      std::string choices;
      for (const char c : std::string(k.rule.choices))
        choices += c == ',' ? std::string(", ") : std::string(1, c);
      out += "One of " + plain(choices) + ".\n";
    }
    if (k.rule.reload) out += "[reload]\n";
  }
  return out +
         ".El\n.Sh EXAMPLES\n.Bd -literal\nlisten:\n  api:\n    port: 6443\nregistries:\n  mirrors:\n    "
         "docker.io: [\"http://192.0.2.5:5000\"]\n.Ed\n"
         ".Sh SEE ALSO\n.Xr limpet 1 ,\n.Xr limpetd 8\n";
}

void compare(const std::string& file, const std::string& wanted) {
  const char* root = std::getenv("LIMPET_SOURCE");
  REQUIRE_MESSAGE(root != nullptr, "LIMPET_SOURCE names the source tree");
  const std::string path = std::string(root) + "/docs/man/" + file;
  if (std::getenv("LIMPET_WRITE_MAN")) REQUIRE(write_file_atomic(path, wanted, 0644));
  const auto there = read_file(path, 1 << 20);
  REQUIRE(there);
  CHECK_MESSAGE(*there == wanted, path, " differs from the tables: run this test with LIMPET_WRITE_MAN=1");
}

}  // namespace

TEST_CASE("manual: limpet(1) is what the tables of commands and options say") {
  compare("limpet.1", limpet_1());
}

TEST_CASE("manual: limpetd.yaml(5) is what the table of keys says") {
  compare("limpetd.yaml.5", limpetd_yaml_5());
}

TEST_CASE("manual: limpetd(8) names every option, signal and file that its help names") {
  const char* root = std::getenv("LIMPET_SOURCE");
  REQUIRE(root != nullptr);
  const std::string page = read_file(std::string(root) + "/docs/man/limpetd.8", 1 << 20).value_or("");
  const std::string help = read_file(std::string(root) + "/src/daemon/options.cc", 1 << 20).value_or("");
  size_t options = 0;
  for (size_t at = help.find("a == \"--"); at != std::string::npos; at = help.find("a == \"--", at + 1)) {
    const std::string name = help.substr(at + 8, help.find('"', at + 8) - at - 8);
    CAPTURE(name);
    CHECK(page.find("Fl Fl " + name) != std::string::npos);
    options++;
  }
  CHECK_EQ(options, 4);
  for (const char* word : {"SIGTERM", "SIGINT", "SIGHUP", "/etc/limpet/limpetd.yaml", "/var/lib/limpet",
                           "/run/limpet", "limpetd.yaml 5"}) {
    CAPTURE(word);
    CHECK(page.find(word) != std::string::npos);
  }
}
