#include "cli/completion.h"

#include <algorithm>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace limpet::cli {
namespace {

// The first words, each once: "image" stands for all of its own.
std::vector<std::string> first_words() {
  std::vector<std::string> out;
  for (const Command& c : commands()) {
    const std::string word = std::string(c.name).substr(0, std::string_view(c.name).find(' '));
    if (std::find(out.begin(), out.end(), word) == out.end()) out.push_back(word);
  }
  out.push_back("help");
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

std::vector<std::string> spellings(const Option& o) {
  std::vector<std::string> out;
  if (o.letter) out.push_back(std::string("-") + o.letter);
  if (o.name) out.push_back(std::string("--") + o.name);
  return out;
}

std::string options_of(std::string_view command) {
  std::vector<std::string> out;
  for (const Option& o : options()) {
    if (!applies(o, command)) continue;
    for (std::string& s : spellings(o)) out.push_back(std::move(s));
  }
  return joined(out);
}

// Those that are followed by a value, as a pattern: -n|--namespace|...
std::string with_values() {
  std::string out;
  for (const Option& o : options()) {
    if (!o.value) continue;
    for (const std::string& s : spellings(o)) out += (out.empty() ? "" : "|") + s;
  }
  return out;
}

bool is_file(std::string_view value) { return value == "FILE" || value == "PATH"; }

// "cpu|memory" and "json" are words to choose from; NAME, N and the like stand for what nobody can foresee.
std::vector<std::string> words_of(std::string_view value) {
  if (value.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string_view::npos) return {};
  std::vector<std::string> out;
  for (size_t at = 0; at <= value.size();) {
    const size_t end = std::min(value.find('|', at), value.size());
    out.emplace_back(value.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

bool takes_pod(const Command& c) { return std::string_view(c.operands).starts_with("POD"); }
bool takes_file(const Command& c) {
  return std::string_view(c.operands).find("FILE") != std::string_view::npos;
}

// The words of a shell's case: what may stand behind a command. Both shells read it.
std::string cases() {
  std::string out;
  for (const Command& c : commands()) {
    out +=
        strf("    '%s') options='%s' operand=%s words_to_offer='%s' ;;\n", c.name, options_of(c.name).c_str(),
             takes_pod(c)                              ? "pod"
             : takes_file(c)                           ? "file"
             : std::string_view(c.operands) == "SHELL" ? "shell"
                                                       : "none",
             joined(words_of_group(c.name)).c_str());
  }
  return out;
}

// The words of a shell's case: what may stand where the value of an option does.
std::string values() {
  std::string out;
  for (const Option& o : options()) {
    if (!o.value) continue;
    std::string pattern;
    for (const std::string& s : spellings(o)) pattern += (pattern.empty() ? "" : "|") + s;
    if (is_file(o.value)) out += "    " + pattern + ") operand=file ;;\n";
    if (const auto words = words_of(o.value); !words.empty())
      out += "    " + pattern + ") operand=words words_to_offer='" + joined(words) + "' ;;\n";
  }
  return out;
}

// The same for words that only begin a command; one that is a command, too, takes its words beside files.
std::string groups() {
  std::string out;
  for (const std::string& group : command_groups()) {
    if (find_command(group)) continue;
    out += "    " + group + ") operand=words words_to_offer='" + joined(words_of_group(group)) + "' ;;\n";
  }
  return out;
}

std::string of_two_words() {
  std::string out;
  for (const std::string& group : command_groups()) {
    for (const std::string& word : words_of_group(group))
      out += (out.empty() ? "'" : "|'") + group + " " + word + "'";
  }
  return out;
}

// How far the line is: sets command, options, operand from the words before the one being typed. The loop is
// the same text in both shells.
std::string common_part() {
  return "  local command='' options='' operand=none skip='' word='' given='' words_to_offer=''\n"
         "  for word in \"${before[@]}\"; do\n"
         "    if [ -n \"$skip\" ]; then skip=''; continue; fi\n"
         "    case $word in\n"
         "    --) return 0 ;;\n"
         "    " +
         with_values() +
         ") skip=$word ;;\n"
         "    -*) ;;\n"
         "    *) if [ -z \"$command\" ]; then command=$word\n"
         "       elif case \"$command $word\" in " +
         of_two_words() +
         ") true ;; *) false ;; esac; then command=\"$command $word\"\n"
         "       else given=yes; fi ;;\n"
         "    esac\n"
         "  done\n"
         "  case $command in\n"
         "    '') options='" +
         options_of("") +
         "' operand=command ;;\n"
         "    help) operand=command ;;\n" +
         cases() + groups() +
         "  esac\n"
         "  if [ -n \"$given\" ]; then operand=none; fi\n"
         "  if [ -n \"$skip\" ]; then options='' operand=none words_to_offer=''; fi\n"
         "  case $skip in\n" +
         values() + "  esac\n";
}

std::string bash() {
  return "# Completion of limpet for bash: limpet completion bash > /etc/bash_completion.d/limpet\n"
         "_limpet() {\n"
         "  local before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\") current=${COMP_WORDS[COMP_CWORD]}\n" +
         common_part() +
         "  COMPREPLY=()\n"
         "  case $current in -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")); return 0 ;; esac\n"
         "  case $operand in\n"
         "    command) COMPREPLY=($(compgen -W '" +
         joined(first_words()) +
         "' -- \"$current\")) ;;\n"
         "    shell) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$current\")) ;;\n"
         "    words) COMPREPLY=($(compgen -W \"$words_to_offer\" -- \"$current\")) ;;\n"
         "    pod) COMPREPLY=($(compgen -W \"$(limpet ps 2>/dev/null | awk 'NR > 1 && !/^ / { print $1 }')\" "
         "-- \"$current\")) ;;\n"
         "    file) COMPREPLY=($(compgen -W \"$words_to_offer\" -- \"$current\") $(compgen -f -- "
         "\"$current\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -F _limpet limpet\n";
}

std::string zsh() {
  return "#compdef limpet\n"
         "# Completion of limpet for zsh: limpet completion zsh > "
         "/usr/local/share/zsh/site-functions/_limpet\n"
         "_limpet() {\n"
         "  local -a before; before=(\"${(@)words[2,CURRENT-1]}\")\n"
         "  local current=${words[CURRENT]}\n" +
         common_part() +
         "  case $current in -*) compadd -- ${=options}; return 0 ;; esac\n"
         "  case $operand in\n"
         "    command) compadd -- " +
         joined(first_words()) +
         " ;;\n"
         "    shell) compadd -- bash zsh fish ;;\n"
         "    words) compadd -- ${=words_to_offer} ;;\n"
         "    pod) compadd -- ${(f)\"$(limpet ps 2>/dev/null | awk 'NR > 1 && !/^ / { print $1 }')\"} ;;\n"
         "    file) [ -z \"$words_to_offer\" ] || compadd -- ${=words_to_offer}; _files ;;\n"
         "  esac\n"
         "}\n"
         "_limpet \"$@\"\n";
}

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("\\'") : std::string(1, c);
  return out + "'";
}

// Functions of the script that tell how far the line is. Fish's own take the value of an option, or a pod
// that is named so, for a command.
std::string fish_functions() {
  std::string patterns = with_values();
  std::replace(patterns.begin(), patterns.end(), '|', ' ');
  return "# The command and operands before the cursor; a \"?\" behind them where the value of an option "
         "comes next.\n"
         "function __limpet_words\n"
         "    set -l skip no\n"
         "    set -l words\n"
         "    for word in (commandline -opc)[2..-1]\n"
         "        if test $skip = yes\n"
         "            set skip no\n"
         "            continue\n"
         "        end\n"
         "        switch $word\n"
         "            case --\n"
         "                return 1\n"
         "            case " +
         patterns +
         "\n"
         "                set skip yes\n"
         "            case '-*'\n"
         "            case '*'\n"
         "                set words $words $word\n"
         "        end\n"
         "    end\n"
         "    test $skip = yes; and set words $words '?'\n"
         "    echo \"$words\"\n"
         "end\n"
         "# Whether these words are all that there is.\n"
         "function __limpet_at\n"
         "    set -l words (__limpet_words); or return 1\n"
         "    test \"$words\" = \"$argv\"\n"
         "end\n"
         "# Whether one of these commands is given.\n"
         "function __limpet_in\n"
         "    set -l words (__limpet_words); or return 1\n"
         "    for command in $argv\n"
         "        string match -q -- \"$command *\" \"$words \"; and return 0\n"
         "    end\n"
         "    return 1\n"
         "end\n";
}

std::string offer(const std::string& at, const std::string& what) {
  return "complete -c limpet -n '__limpet_at" + (at.empty() ? "" : " " + at) + "' " + what + "\n";
}

std::string fish_commands() {
  std::string out;
  for (const Command& c : commands()) {
    const std::string name(c.name);
    const size_t space = name.find(' ');
    const std::string first = space == std::string::npos ? "" : name.substr(0, space);
    out += offer(first, "-a " + name.substr(first.empty() ? 0 : space + 1) + " -d " + quoted(c.summary));
    if (first.empty()) out += offer("help", "-a " + name);
    if (takes_pod(c))
      out += offer(name, "-a \"(limpet ps 2>/dev/null | awk 'NR > 1 && !/^ / { print \\$1 }')\"");
    if (takes_file(c)) out += offer(name, "-F");
    if (std::string_view(c.operands) == "SHELL") out += offer(name, "-a 'bash zsh fish'");
  }
  for (const std::string& group : command_groups()) {
    if (find_command(group)) continue;
    out += offer("", "-a " + group + " -d " + quoted(joined(words_of_group(group)))) +
           offer("help", "-a " + group);
  }
  return out + offer("", "-a help -d 'what a command does'");
}

std::string fish_option(const Option& o) {
  std::string when;
  for (const Command& c : commands()) {
    if (o.commands && applies(o, c.name)) when += std::string(" \"") + c.name + "\"";
  }
  std::string out = "complete -c limpet";
  if (!when.empty()) out += " -n '__limpet_in" + when + "'";
  if (o.letter) out += std::string(" -s ") + o.letter;
  if (o.name) out += std::string(" -l ") + o.name;
  if (o.value) out += is_file(o.value) ? " -r -F" : " -x";
  if (const auto words = words_of(o.value ? o.value : "N"); !words.empty())
    out += " -a '" + joined(words) + "'";
  return out + " -d " + quoted(o.doc) + "\n";
}

std::string fish() {
  std::string out =
      "# Completion of limpet for fish: limpet completion fish > /etc/fish/completions/limpet.fish\n" +
      fish_functions() + "complete -c limpet -f\n" + fish_commands();
  for (const Option& o : options()) out += fish_option(o);
  return out;
}

}  // namespace

std::string completion_script(std::string_view shell) {
  if (shell == "bash") return bash();
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  return "";
}

Outcome<int> run_completion(Context& context) {
  const std::string& shell = context.arguments.positional[0];
  const std::string script = completion_script(shell);
  if (script.empty())
    return failed(exit_usage, "there is completion for bash, zsh and fish, not for " + shell.substr(0, 60));
  return print(context, script);
}

}  // namespace limpet::cli
