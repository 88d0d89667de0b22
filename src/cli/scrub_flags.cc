#include "cli/scrub_flags.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cli/scrub.h"
#include "cli/scrub_text.h"

namespace limpet::cli {

struct Program {
  std::string_view names;  // with blanks around each
  std::string_view flags;  // their letters
  enum class Form { any, attached, apart } form = Form::any;
  char mark = 0;  // the secret stands behind it in the value
};

namespace {

using Form = Program::Form;
constexpr size_t farthest = 64;  // words after the name of a program

constexpr Program programs[] = {
    {" mysql mysqldump mysqladmin mysqlcheck mysqlimport mysqlshow mariadb mariadb-dump mariadb-admin ", "p",
     Form::attached, 0},
    {" redis-cli valkey-cli keydb-cli ", "a", Form::apart, 0},
    {" mosquitto_pub mosquitto_sub mosquitto_rr ipmitool sqlcmd zip unzip ", "P", Form::any, 0},
    {" sshpass mongo mongosh mongodump mongorestore mongoexport mongoimport rabbitmqadmin useradd usermod ",
     "p", Form::any, 0},
    {" ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldappasswd ", "w", Form::any, 0},
    {" openssl ", "kK", Form::apart, 0},
    {" snmpget snmpset snmpwalk snmpbulkwalk snmptrap ", "AXc", Form::apart, 0},
    {" smbclient ", "U", Form::any, '%'},
    {" curl ", "uU", Form::any, ':'},
};
constexpr std::string_view letters_of_secrets = "paPw";  // of programs that are not known

const Program* find_program(std::string_view word) {
  const std::string name = " " + std::string(word.substr(word.rfind('/') + 1)) + " ";
  if (name.size() == 2) return nullptr;
  for (const Program& p : programs) {
    if (p.names.find(name) != std::string_view::npos) return &p;
  }
  return nullptr;
}

bool of_numbers(std::string_view word) {
  return word.find_first_not_of("0123456789.:") == std::string_view::npos;
}

bool a_path(std::string_view word) { return word.starts_with('/') || word.starts_with("./"); }

// A number, an address of numbers, a path, another flag: what a technician wants to see.
bool harmless(std::string_view word) { return word.starts_with('-') || a_path(word) || of_numbers(word); }

// Behind the mark, unless a pair of that sense has no secret: a user and a group, an address and a port, a
// host and a path (or the rest of a URL).
Command::Piece after(std::string_view word, char mark, Command::Pair sense) {
  const size_t at = word.find(mark);
  if (at == std::string_view::npos) return {};
  const std::string_view name = word.substr(0, at), rest = word.substr(at + 1);
  if (sense != Command::Pair::secret && of_numbers(name) && of_numbers(rest)) return {};
  if (sense == Command::Pair::any && a_path(rest)) return {};
  return {at + 1, word.size()};
}

// Where the word that follows a flag begins and ends: VALUE, "VALUE" in a list, and as a list of YAML.
std::optional<Command::Piece> word_after(std::string_view text, size_t end) {
  if (end == text.size() || (!of_space(text[end]) && !of_quote(text[end]) && text[end] != '\\'))
    return std::nullopt;
  const bool list = !of_space(text[end]);
  size_t value = end;
  while (value < text.size() &&
         (of_space(text[value]) ||
          (list && (text[value] == '\\' || of_quote(text[value]) || text[value] == ',')))) {
    value++;
  }
  const std::string_view between = text.substr(end, value - end);
  // The list may end here; only its comma leads to the next element.
  if (list && between.find(',') == std::string_view::npos) return std::nullopt;
  const bool lines = between.find('\n') != std::string_view::npos;
  if (!list && lines) {
    if (!text.substr(value).starts_with("- ")) return std::nullopt;
    value += 2;
  }
  if (!list && value < text.size() && of_quote(text[value])) value++;
  if (text.substr(value).starts_with(kGone)) return std::nullopt;
  const bool quoted = value > 0 && of_quote(text[value - 1]);
  const size_t stop = quoted
                          ? end_of_quoted(text, value - 1)
                          : std::min(text.find_first_of(lines ? "\n" : " \t\n\"'\\,]", value), text.size());
  if (stop == value) return std::nullopt;
  return Command::Piece{value, stop};
}

bool ends_word(char c) {
  return of_space(c) || of_quote(c) || std::string_view("\\,[]{};|&()`").find(c) != std::string_view::npos;
}

// Whether a command ends with the character: not with a line that goes on as a list, or after a backslash.
bool ends_command(std::string_view text, size_t at) {
  if (text[at] == '\\') return text.substr(at).starts_with("\\n");
  if (text[at] != '\n') return std::string_view("]{};|&()`").find(text[at]) != std::string_view::npos;
  if (at > 0 && text[at - 1] == '\\') return false;
  const size_t next = std::min(text.find_first_not_of(" \t", at + 1), text.size());
  const std::string_view rest = text.substr(next);
  return !rest.starts_with("- ") && !rest.starts_with('"') && !rest.starts_with("\\\"");
}

}  // namespace

bool secret_flag(std::string_view word) {
  const size_t name = word.find_first_not_of('-');
  return name != std::string_view::npos && name > 0 && word.find('=') == std::string_view::npos &&
         secret_name(word.substr(name));
}

Command Command::of_arguments() {
  Command c;
  c.unknown_ = true;
  return c;
}

void Command::flag(std::string_view w, Piece& own) {
  const bool known = program_ != nullptr && program_->flags.find(w[1]) != std::string_view::npos;
  mark_ = known ? program_->mark : 0;
  // What follows may be a command of another program, whose letters are its own.
  const Program* program = known && program_->flags.size() == 1 ? std::exchange(program_, nullptr) : program_;
  if (w.size() > 2 && known && program->form != Form::apart) {
    own = mark_ == 0 ? Piece{2, w.size()} : after(w, mark_, Pair::secret);
  } else if (w.size() == 2 && known && program->form != Form::attached) {
    next_ = mark_ == 0 ? Value::secret : Value::after_mark;
    pair_ = Pair::secret;
  } else if (w == "-u") {
    next_ = Value::after_mark;
    mark_ = ':';
    pair_ = Pair::any;
  } else if (w.size() == 2 && unknown_ && letters_of_secrets.find(w[1]) != std::string_view::npos) {
    next_ = Value::maybe;
  }
}

Command::Piece Command::word(std::string_view w) {
  next_ = Value::none;
  Piece own;
  if (const Program* p = find_program(w)) {
    program_ = p;
    words_ = 0;
    unknown_ = false;
  } else if (++words_ > farthest) {
    program_ = nullptr;
  }
  const std::string_view flag_name = w.substr(0, w.find('='));
  if (flag_name == "--user" || flag_name == "--proxy-user") {
    // Of a user and a group, too, with programs that are not known to take a secret there.
    const bool sure = flag_name != "--user" || (program_ != nullptr && program_->mark == ':');
    mark_ = ':';
    pair_ = sure ? Pair::secret : Pair::user;
    if (flag_name.size() == w.size()) {
      next_ = Value::after_mark;
    } else if (const Piece p = after(w.substr(flag_name.size() + 1), mark_, pair_); p.end > p.begin) {
      own = {flag_name.size() + 1 + p.begin, w.size()};
    }
  } else if (w.size() >= 2 && w[0] == '-' && w[1] != '-') {
    flag(w, own);
  }
  return own;
}

Command::Piece Command::value(std::string_view w) const {
  const Piece all{0, w.size()};
  switch (next_) {
    case Value::none:
      return {};
    case Value::secret:
      return w.starts_with('-') ? Piece{} : all;
    case Value::maybe:
      return harmless(w) ? Piece{} : all;
    case Value::after_mark:
      return after(w, mark_, pair_);
  }
  return {};
}

void remove_after_flags(std::string& text) {
  Cuts cuts(text);
  for (size_t at = 0; (at = text.find('-', at)) != std::string::npos;) {
    const bool begins = at == 0 || !of_name(text[at - 1]);
    size_t end = at;
    while (end < text.size() && of_name(text[end])) end++;
    const bool flag = begins && secret_flag(std::string_view(text).substr(at, end - at));
    at = end;
    const auto found = flag ? word_after(text, end) : std::nullopt;
    if (!found || std::string_view(text).substr(found->begin).starts_with("--")) continue;
    cuts.add(found->begin, found->end);
    at = found->end;
  }
}

void remove_after_short_flags(std::string& text) {
  Cuts cuts(text);
  const std::string_view all = text;
  Command command;
  for (size_t at = 0; at < all.size();) {
    if (ends_command(all, at)) command.end();
    if (ends_word(all[at])) {
      at += all.substr(at).starts_with("\\n") ? 2 : 1;
      continue;
    }
    size_t end = at;
    while (end < all.size() && !ends_word(all[end])) end++;
    const auto cut = [&](size_t begin, Command::Piece p) {
      if (p.end > p.begin && !all.substr(begin + p.begin).starts_with(kGone))
        cuts.add(begin + p.begin, begin + p.end);
    };
    cut(at, command.word(all.substr(at, end - at)));
    at = end;
    if (command.next() == Command::Value::none) continue;
    const auto found = word_after(all, end);
    if (!found) continue;
    const Command::Piece piece = command.value(all.substr(found->begin, found->end - found->begin));
    cut(found->begin, piece);
    if (piece.end > piece.begin) at = found->end;
  }
}

}  // namespace limpet::cli
