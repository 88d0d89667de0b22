// Secrets that a command gets as words: behind flags whose name says it (--password X), and behind flags of
// one letter, which mean something else with each program: those of programs that are known to take a secret
// there (redis-cli -a X, mysql -pX), and NAME:SECRET behind -u and --user. What else such a letter may be (a
// port, a path, an address) stays. Internal to the scrubber.
#pragma once

#include <string>
#include <string_view>

namespace limpet::cli {

struct Program;  // one that takes secrets behind flags of one letter

// Follows the words of one command after another.
class Command {
 public:
  enum class Value {
    none,        // nothing is known of the next word
    secret,      // it is one
    maybe,       // it is one unless it looks like a port, a path or an address
    after_mark,  // what stands in it after the mark: user:secret, user%secret
  };
  // What the pair around a mark may be.
  enum class Pair {
    secret,  // a user and a secret
    user,    // that, or a user and a group by their numbers
    any,     // that, an address or a host and a path
  };
  struct Piece {
    size_t begin = 0, end = 0;  // of a word; nothing when they are equal
  };
  // A list of arguments whose program is not told: its image's.
  static Command of_arguments();
  // What the word itself has to go; what the next one is, is in next().
  Piece word(std::string_view w);
  Value next() const { return next_; }
  // The part of the next word that goes.
  Piece value(std::string_view w) const;
  void end() { *this = Command(); }

 private:
  void flag(std::string_view w, Piece& own);

  const Program* program_ = nullptr;
  size_t words_ = 0;  // since its name
  bool unknown_ = false;
  Value next_ = Value::none;
  char mark_ = 0;
  Pair pair_ = Pair::secret;
};

// "--password", without a value of its own.
bool secret_flag(std::string_view word);

void remove_after_flags(std::string& text);
void remove_after_short_flags(std::string& text);

}  // namespace limpet::cli
