#include "cli/completion.h"

#include "base/result.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace limpet::cli {
namespace {

// The first words, each once: "image" stands for its four.
std::vector<std::string> first_words() {
  std::vector<std::string> out;
  for (const Command& c : commands()) {
    const std::string word = std::string(c.name).substr(0, std::string_view(c.name).find(' '));
    if (out.empty() || out.back() != word) out.push_back(word);
  }
  out.push_back("help");
  return out;
}

std::vector<std::string> second_words(std::string_view first) {
  std::vector<std::string> out;
  for (const Command& c : commands()) {
    const std::string_view name(c.name);
    if (name.size() > first.size() && name.starts_with(first) && name[first.size()] == ' ')
      out.emplace_back(name.substr(first.size() + 1));
  }
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

bool takes_pod(const Command& c) { return std::string_view(c.operands).starts_with("POD"); }
bool takes_file(const Command& c) {
  return std::string_view(c.operands).find("FILE") != std::string_view::npos;
}

// The words of a shell's case: what may stand behind a command. Both shells read it.
std::string cases() {
  std::string out;
  for (const Command& c : commands()) {
    out += strf("    '%s') options='%s' operand=%s ;;\n", c.name, options_of(c.name).c_str(),
                takes_pod(c)                              ? "pod"
                : takes_file(c)                           ? "file"
                : std::string_view(c.operands) == "SHELL" ? "shell"
                                                          : "none");
  }
  return out;
}

// How far the line is: sets command, options, operand from the words before the one being typed. The loop is
// the same text in both shells.
std::string common_part() {
  return "  local command='' options='' operand=none skip='' word=''\n"
         "  for word in \"${before[@]}\"; do\n"
         "    if [ -n \"$skip\" ]; then skip=''; continue; fi\n"
         "    case $word in\n"
         "    --) return 0 ;;\n"
         "    " +
         with_values() +
         ") skip=yes ;;\n"
         "    -*) ;;\n"
         "    *) if [ -z \"$command\" ]; then command=$word\n"
         "       elif [ \"$command\" = image ]; then command=\"image $word\"; fi ;;\n"
         "    esac\n"
         "  done\n"
         "  case $command in\n"
         "    '') options='" +
         options_of("") +
         "' operand=command ;;\n"
         "    help) operand=command ;;\n"
         "    image) operand=image ;;\n" +
         cases() + "  esac\n";
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
         "    image) COMPREPLY=($(compgen -W '" +
         joined(second_words("image")) +
         "' -- \"$current\")) ;;\n"
         "    shell) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$current\")) ;;\n"
         "    pod) COMPREPLY=($(compgen -W \"$(limpet ps 2>/dev/null | awk 'NR > 1 && !/^ / { print $1 }')\" "
         "-- \"$current\")) ;;\n"
         "    file) COMPREPLY=($(compgen -f -- \"$current\")) ;;\n"
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
         "    image) compadd -- " +
         joined(second_words("image")) +
         " ;;\n"
         "    shell) compadd -- bash zsh fish ;;\n"
         "    pod) compadd -- ${(f)\"$(limpet ps 2>/dev/null | awk 'NR > 1 && !/^ / { print $1 }')\"} ;;\n"
         "    file) _files ;;\n"
         "  esac\n"
         "}\n"
         "_limpet \"$@\"\n";
}

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("\\'") : std::string(1, c);
  return out + "'";
}

std::string fish() {
  std::string out =
      "# Completion of limpet for fish: limpet completion fish > /etc/fish/completions/limpet.fish\n"
      "complete -c limpet -f\n";
  for (const Command& c : commands()) {
    const std::string name(c.name);
    const size_t space = name.find(' ');
    const std::string when = space == std::string::npos
                                 ? "__fish_use_subcommand"
                                 : "__fish_seen_subcommand_from " + name.substr(0, space);
    out += "complete -c limpet -n '" + when + "' -a " +
           name.substr(space == std::string::npos ? 0 : space + 1) + " -d " + quoted(c.summary) + "\n";
    const std::string seen =
        "__fish_seen_subcommand_from " + name.substr(space == std::string::npos ? 0 : space + 1);
    if (takes_pod(c))
      out += "complete -c limpet -n '" + seen +
             "' -a \"(limpet ps 2>/dev/null | awk 'NR > 1 && !/^ / { print \\$1 }')\"\n";
    if (takes_file(c)) out += "complete -c limpet -n '" + seen + "' -F\n";
    if (std::string_view(c.operands) == "SHELL")
      out += "complete -c limpet -n '" + seen + "' -a 'bash zsh fish'\n";
  }
  out += "complete -c limpet -n '__fish_use_subcommand' -a image -d 'images of this device'\n";
  for (const Option& o : options()) {
    std::string when;
    for (const Command& c : commands()) {
      const std::string name(c.name);
      if (o.commands && applies(o, name))
        when += " " + name.substr(name.find(' ') == std::string::npos ? 0 : name.find(' ') + 1);
    }
    out += "complete -c limpet";
    if (!when.empty()) out += " -n '__fish_seen_subcommand_from" + when + "'";
    if (o.letter) out += std::string(" -s ") + o.letter;
    if (o.name) out += std::string(" -l ") + o.name;
    if (o.value) out += " -r";
    out += " -d " + quoted(o.doc) + "\n";
  }
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
