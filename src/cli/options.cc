#include "cli/options.h"

#include <algorithm>
#include <charconv>

namespace limpet::cli {
namespace {

constexpr std::string_view epilogue =
    "Exit status: 0 done, 1 failed (why, doctor: something is wrong), 2 wrong\n"
    "arguments, 3 limpetd does not answer, 4 not found; exec: that of the command.\n";

bool in_list(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t space = std::min(list.find(' '), list.size());
    if (list.substr(0, space) == word) return true;
    list.remove_prefix(std::min(space + 1, list.size()));
  }
  return false;
}

std::string shown(const Option& o) {
  std::string out = o.letter ? std::string("-") + o.letter + ", " : "    ";
  out.append("--").append(o.name);
  if (o.value) out.append(" ").append(o.value);
  return out;
}

std::unexpected<Error> wrong(std::string message) { return fail(Errc::invalid_argument, std::move(message)); }

std::string command_names() {
  std::string out;
  for (const Command& c : commands()) out.append(out.empty() ? "" : ", ").append(c.name);
  return out;
}

// One pass over the words: names and options apart. Which options the command takes is checked when it is
// known, since options may stand before it; a letter with two meanings is settled by the command, so that the
// command is looked for first.
class Parser {
 public:
  explicit Parser(const std::vector<std::string>& words) : words_(words) {}

  Result<Arguments> run() {
    find_name();
    for (at_ = 0; at_ < words_.size(); at_++) {
      const std::string& word = words_[at_];
      if (word == "--") {
        out_.has_rest = true;
        out_.rest.assign(words_.begin() + static_cast<ptrdiff_t>(at_) + 1, words_.end());
        break;
      }
      if (word.starts_with("--")) {
        CHECK_OK(long_option(word));
      } else if (word.size() > 1 && word[0] == '-') {
        CHECK_OK(short_options(word));
      } else {
        out_.positional.push_back(word);
      }
    }
    if (!out_.positional.empty() && out_.positional[0] == "help") {
      out_.help = true;
      out_.positional.erase(out_.positional.begin());
    }
    CHECK_OK(take_command());
    return std::move(out_);
  }

 private:
  // A guess good enough to tell the meanings of a letter apart: the first words that name a command.
  void find_name() {
    for (const std::string& word : words_) {
      if (word == "--") return;
      if (guess_ == "image" || find_command(guess_ + " " + word)) guess_ += " " + word;
      if (guess_.empty() && word[0] != '-' && (word == "image" || find_command(word))) guess_ = word;
    }
  }

  const Option* find(std::string_view name, char letter) const {
    const Option* other = nullptr;
    for (const Option& o : options()) {
      if (letter ? o.letter != letter : name != o.name) continue;
      if (applies(o, guess_)) return &o;
      other = &o;
    }
    return guess_.empty() || !find_command(guess_) ? other : nullptr;
  }

  std::unexpected<Error> unknown(std::string_view what) const {
    for (const Option& o : options()) {
      const bool same =
          what.starts_with("--") ? what.substr(2) == o.name : what.substr(1) == std::string(1, o.letter);
      if (same && o.commands)
        return wrong(guess_ + " takes no " + std::string(what) + "; see limpet help " + guess_);
    }
    return wrong("there is no option " + std::string(what.substr(0, 60)) + "; see limpet help" +
                 (guess_.empty() ? "" : " " + guess_));
  }

  Result<> apply(const Option& o, std::string_view spelled, std::string_view value) {
    auto set = o.set(out_, value);
    if (set) return {};
    return std::unexpected(std::move(set).error().with(std::string(spelled)));
  }

  Result<> long_option(const std::string& word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Option* o = find(name.substr(2), 0);
    if (!o) return unknown(name);
    if (!o->value) {
      if (equals != std::string::npos) return wrong(name + " takes no value");
      return apply(*o, name, "");
    }
    if (equals != std::string::npos) return apply(*o, name, word.substr(equals + 1));
    return with_next(*o, name);
  }

  Result<> with_next(const Option& o, const std::string& spelled) {
    if (at_ + 1 >= words_.size() || words_[at_ + 1] == "--")
      return wrong(spelled + " needs a value: " + spelled + " " + o.value);
    return apply(o, spelled, words_[++at_]);
  }

  Result<> short_options(const std::string& word) {
    for (size_t i = 1; i < word.size(); i++) {
      const std::string spelled = std::string("-") + word[i];
      const Option* o = find({}, word[i]);
      if (!o) return unknown(spelled);
      if (!o->value) {
        CHECK_OK(apply(*o, spelled, ""));
        continue;
      }
      if (i + 1 == word.size()) return with_next(*o, spelled);
      return apply(*o, spelled, std::string_view(word).substr(i + 1 + (word[i + 1] == '=')));
    }
    return {};
  }

  Result<> take_command() {
    auto& words = out_.positional;
    if (words.empty()) {
      if (out_.help || words_.empty()) return {};
      return wrong("which command? One of " + command_names());
    }
    size_t used = 1;
    std::string name = words[0];
    if (words.size() > 1 && (name == "image" || find_command(name + " " + words[1]))) {
      name += " " + words[1];
      used = 2;
    }
    if (out_.help && name == "image") name = "image ls";  // they share one page
    const Command* command = find_command(name);
    if (!command) {
      if (name.starts_with("image"))
        return wrong("image needs one of ls, pull, import, rm; see limpet help image");
      return wrong("there is no command " + name.substr(0, 60) + "; commands are " + command_names());
    }
    out_.command = name;
    words.erase(words.begin(), words.begin() + static_cast<ptrdiff_t>(used));
    return out_.help ? Result<>() : check_operands(*command);
  }

  Result<> check_operands(const Command& c) const {
    const std::string usage = strf("usage: limpet %s %s", c.name, c.operands);
    const size_t n = out_.positional.size();
    if (n < c.min_operands) return wrong(usage);
    if (c.takes_rest && (n > c.max_operands || out_.rest.empty())) {
      return wrong("the command to run stands behind --\n" + usage);
    }
    if (n > c.max_operands)
      return wrong("what is " + out_.positional[c.max_operands].substr(0, 60) + " for?\n" + usage);
    if (out_.has_rest && !c.takes_rest) return wrong("nothing may stand behind --\n" + usage);
    return {};
  }

  const std::vector<std::string>& words_;
  size_t at_ = 0;
  std::string guess_;
  Arguments out_;
};

std::string options_help(std::string_view command, bool general) {
  std::string out;
  for (const Option& o : options()) {
    if ((o.commands == nullptr) != general || !applies(o, command)) continue;
    out += strf("  %-24s  %s\n", shown(o).c_str(), o.doc);
  }
  return out;
}

std::string overview() {
  std::string out =
      "limpet: what runs on this device, asked from its limpetd over a local socket\n\n"
      "usage: limpet [OPTION...] COMMAND\n\n";
  for (const Command& c : commands()) out += strf("  %-14s  %s\n", c.name, c.summary);
  out += "\nOptions of every command:\n" + options_help("", true);
  out += "\nlimpet help COMMAND tells more, with examples.\n";
  return out.append(epilogue);
}

}  // namespace

const Command* find_command(std::string_view name) {
  for (const Command& c : commands()) {
    if (name == c.name) return &c;
  }
  return nullptr;
}

bool applies(const Option& option, std::string_view command) {
  if (!option.commands) return true;
  std::string name(command);
  std::replace(name.begin(), name.end(), ' ', '/');
  return in_list(option.commands, name);
}

Result<Arguments> parse_arguments(const std::vector<std::string>& words) { return Parser(words).run(); }

Result<int64_t> parse_duration(std::string_view text) {
  const auto bad = [] { return wrong("a time is wanted, as in 90s, 15m, 1h30m or 2d"); };
  int64_t total = 0;
  std::string_view left = text;
  while (!left.empty()) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(left.data(), left.data() + left.size(), n);
    if (error != std::errc() || n < 0 || n > 1'000'000'000) return bad();
    left.remove_prefix(static_cast<size_t>(end - left.data()));
    const char unit = left.empty() ? 's' : left[0];
    if (!left.empty()) left.remove_prefix(1);
    const int64_t seconds = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : unit == 'd' ? 86400 : 0;
    if (seconds == 0) return bad();
    total += n * seconds;
  }
  if (total < 1) return bad();
  return total;
}

std::string help_text(std::string_view command) {
  const Command* c = find_command(command);
  if (!c) return overview();
  std::string out;
  const bool image = command.starts_with("image");
  for (const Command& each : commands()) {
    if (&each != c && !(image && std::string_view(each.name).starts_with("image"))) continue;
    out += strf("limpet %s%s%s: %s\n", each.name, *each.operands ? " " : "", each.operands, each.summary);
    if (each.details) out.append("\n").append(each.details);
    const std::string own = options_help(each.name, false);
    if (!own.empty()) out += "\nOptions:\n" + own;
    out.append("\nExamples:\n").append(each.examples).append("\n");
  }
  out += "Options of every command:\n" + options_help("", true) + "\n";
  return out.append(epilogue);
}

}  // namespace limpet::cli
