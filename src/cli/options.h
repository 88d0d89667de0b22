// The command line of limpet: one table of commands, one of options, and a parser that knows neither by name.
//
// Options may stand anywhere before "--", also before the command; short ones may be bundled ("-it") and may
// hold their value ("-nkube-system"). Pure; errors are sentences that say what to write instead.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace limpet::cli {

struct Arguments {
  std::string command;                  // "ps", "image ls"; empty: none was given
  std::vector<std::string> positional;  // after the command's name
  std::vector<std::string> rest;        // behind "--"
  bool has_rest = false;

  std::string config = "/etc/limpet/limpetd.yaml";
  bool config_given = false;
  std::string socket;
  std::string ns = "default";
  bool all_namespaces = false;
  bool json = false;
  bool follow = false, previous = false, timestamps = false;
  std::optional<int64_t> tail, since_s;
  std::optional<int64_t> watch_s;
  bool by_memory = false;
  bool yes = false, stop = false, with_config = false;
  std::string container;
  std::string registry;
  std::string passphrase_file, recipient, key, data_dir;
  bool force = false, new_cluster_id = false;
  bool in = false, tty = false;
  std::string role, description;
  std::optional<int64_t> ttl_s, uses;
  bool discard = false;
  bool authority = false;
  std::optional<int64_t> patience_s;
  bool help = false;
};

struct Option {
  char letter;        // 0: none
  const char* name;   // without dashes; nullptr: none
  const char* value;  // what stands for the value in the help; nullptr: a flag
  const char* doc;
  const char* commands;  // space-separated, with '/' inside names ("image/ls"); nullptr: all
  Result<> (*set)(Arguments&, std::string_view value);
};

struct Command {
  const char* name;
  const char* operands;  // "POD[/CONTAINER]"
  const char* summary;
  const char* details;  // further lines of the help, or nullptr
  const char* examples;
  size_t min_operands, max_operands;
  bool takes_rest;  // needs a command behind "--"
};

std::span<const Option> options();
std::span<const Command> commands();
const Command* find_command(std::string_view name);
// The first words of commands of two words, each once: "image"; and the second ones: "ls", "pull".
std::vector<std::string> command_groups();
std::vector<std::string> words_of_group(std::string_view group);
bool applies(const Option& option, std::string_view command);

// The arguments without the program's name. With help asked for, nothing else is checked.
Result<Arguments> parse_arguments(const std::vector<std::string>& words);

// "90", "90s", "15m", "1h30m", "2d" as seconds, at least 1.
Result<int64_t> parse_duration(std::string_view text);

// The help of a command, or of all (command empty). At most 80 columns.
std::string help_text(std::string_view command);

}  // namespace limpet::cli
