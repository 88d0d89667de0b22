// Who the members are and where they may be reached: what the owner set, corrected by what they say
// themselves. Pure; owned by Peers.
//
// Three sources, the freshest first: where a member said last that it listens, where its last connection came
// from (with the port that it listens on), and what the owner set. An address at which it was reached goes to
// the front, until the member says something new.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "peer/wire.h"

namespace limpet::peer {

struct Member {
  MemberId id = 0;
  std::string name;
  std::vector<std::string> addresses;
  bool operator==(const Member&) const = default;
};

class Directory {
 public:
  using OnLearned = std::function<void(const Member&)>;
  // Called from learn() with the addresses to keep for a member, as long as the owner has not set all of
  // them.
  void on_learned(OnLearned f) { on_learned_ = std::move(f); }

  // All of them. What was learned about those who stay is kept. Gives those whose addresses are others than
  // before.
  std::vector<MemberId> set(const std::vector<Member>& members);

  bool knows(MemberId id) const { return entries_.contains(id); }
  std::string name_of(MemberId id) const;        // empty when unknown
  MemberId find(const std::string& name) const;  // 0 when unknown
  std::vector<MemberId> all() const;
  // To be tried in this order; each once, in the form of Address::text().
  std::vector<std::string> addresses(MemberId id) const;

  // A member of this name has spoken: where it listens and, when it dialled us, from where (a host). Nothing
  // happens for a stranger. True when there is a new address to try.
  bool learn(const About& about, const std::string& from);
  void reached(MemberId id, const std::string& address);

 private:
  struct Entry {
    std::string name;
    std::vector<std::string> set;   // by the owner
    std::vector<std::string> told;  // by itself
    std::string seen;               // its last connection came from there
    std::string worked;
  };
  static std::vector<std::string> addresses(const Entry& entry);

  std::map<MemberId, Entry> entries_;
  OnLearned on_learned_;
};

}  // namespace limpet::peer
