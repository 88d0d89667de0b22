// Lines of text: the members of a group, and what is wanted of it.
//
//   1v* 2v- 3v-600 4l 5l~ 6n 7v! 8lx | most 3 after 300
// v voter, l learner, n not in the group yet; * the leader; - not active (for so many seconds); ~ far behind;
// ! commanded to be replaced; x removed.
#include "cluster/voters.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <charconv>

#include "base/random.h"

using namespace limpet;
using namespace limpet::cluster;

namespace {

constexpr uint64_t last = 100'000;

struct State {
  Group group;
  VoterOptions options;
};

std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> out(1);
  for (const char c : line) {
    if (c == ' ') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

int64_t number(const std::string& text, size_t& at) {
  int64_t n = 0;
  const auto end = std::from_chars(text.data() + at, text.data() + text.size(), n).ptr;
  at = static_cast<size_t>(end - text.data());
  return n;
}

void add_member(const std::string& word, Group& group) {
  GroupMember one;
  size_t at = 0;
  one.id = static_cast<raft::MemberId>(number(word, at));
  one.active = true;
  one.match = last - one.id;
  REQUIRE(at < word.size());
  const char kind = word[at++];
  if (kind == 'v') group.membership.voters.push_back(one.id);
  if (kind == 'l') group.membership.learners.push_back(one.id);
  while (at < word.size()) {
    const char flag = word[at++];
    if (flag == '*') group.leader = one.id;
    if (flag == '-') {
      one.active = false;
      one.silent_s = number(word, at);
    }
    if (flag == '~') one.match = last - 5000;
    if (flag == '!') one.replace = true;
    if (flag == 'x') one.wanted = false;
  }
  group.members.push_back(one);
}

State parse(const std::string& line) {
  State out;
  out.group.last = last;
  const size_t bar = line.find(" | ");
  for (const std::string& word : words(line.substr(0, bar))) add_member(word, out.group);
  if (bar == std::string::npos) return out;
  const std::vector<std::string> options = words(line.substr(bar + 3));
  for (size_t i = 0; i + 1 < options.size(); i += 2) {
    if (options[i] == "most") out.options.most_voters = static_cast<size_t>(std::stoul(options[i + 1]));
    if (options[i] == "after") out.options.replace_after_s = std::stol(options[i + 1]);
    if (options[i] == "joint") out.group.membership.outgoing = {1};
  }
  return out;
}

std::string list(const std::vector<raft::MemberId>& ids) {
  std::string out;
  for (const raft::MemberId id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
  return out;
}

std::string text(const std::optional<GroupChange>& change) {
  if (!change) return "none";
  if (change->transfer_to != 0) return "transfer " + std::to_string(change->transfer_to);
  return "v " + list(change->membership->voters) +
         (change->membership->learners.empty() ? "" : " l " + list(change->membership->learners));
}

}  // namespace

TEST_CASE("the next change of the group") {
  struct Row {
    const char *state, *wanted, *rule;
  };
  for (const Row& row : {
           // Growing.
           Row{"1v*", "none", "one server is a group"},
           Row{"1v* 2n", "v 1 l 2", "a new server learns first"},
           Row{"1v* 2n 3n", "v 1 l 2", "one after the other"},
           Row{"1v* 2n-", "v 1 l 2", "also one that is not heard of: the log reaches it when it comes"},
           Row{"1v* 2l~", "none", "it has not caught up"},
           Row{"1v* 2l", "none", "two voters are worse than one"},
           Row{"1v* 2l 3l~", "none", "the second of a pair has not caught up"},
           Row{"1v* 2l 3l", "v 1 2 3", "two at once: the number stays odd"},
           Row{"1v* 2l 3l-", "none", "who is not active is not promoted"},
           Row{"1v* 2l 3n", "v 1 l 2 3", "learning goes on meanwhile"},
           Row{"1v* 2v 3v 4l", "none", "four voters are worse than three"},
           Row{"1v* 2v 3v 4l 5l", "v 1 2 3 4 5", "five"},
           Row{"1v* 2v 3v 4l 5l 6l", "v 1 2 3 4 5 l 6", "the sixth stays a learner"},
           Row{"1v* 2v 3v 4v 5v 6l 7l", "none", "five are the most"},
           Row{"1v* 2v 3v 4v 5v 6l 7l | most 7", "v 1 2 3 4 5 6 7", "unless it says otherwise"},
           Row{"1v* 2v 3v 4l 5l | most 3", "none", "three are the most"},
           Row{"1v* 2v 3v 4l 5l | most 4", "none", "an even most is the odd one below"},
           Row{"1v* 2l 3l | joint 1", "none", "one change at a time"},
           Row{"1v* 2v 3v 4v 5v | most 3", "v 1 2 3 l 4 5", "fewer are wanted"},
           Row{"1v* 2v- 3v 4v~ 5v | most 3", "v 1 3 5 l 2 4", "the worst are the first to go"},
           Row{"1v 2v 3v 4v 5v* | most 3", "v 1 2 5 l 3 4", "never the leader"},
           Row{"1v* 2v | most 1", "v 1 l 2", "down to one"},
           // Removed.
           Row{"1v* 2v 3vx", "v 1 l 2", "two that are left: one votes"},
           Row{"1v* 2v 3vx 4l", "v 1 2 4", "the learner takes its place"},
           Row{"1v* 2v 3vx 4l~", "v 1 2 l 4", "even for a while, since somebody is about to catch up"},
           Row{"1v* 2v 4l~", "none", "and then waits"},
           Row{"1v* 2v 4l", "v 1 2 4", "until it has"},
           Row{"1v* 2v 4l-~", "v 1 l 2 4", "not for one that is away"},
           Row{"1v* 2v 3vx 4n", "v 1 2", "nor is a new one too new"},
           Row{"1v* 2v 3v 4lx", "v 1 2 3", "a learner that was removed leaves"},
           Row{"1v* 2v 3v-x", "v 1 l 2", "also one that is away"},
           Row{"1v* 2v- 3v-x", "none", "not without a quorum of before"},
           Row{"1v* 2v- 3vx", "v 1 l 2", "while it can still agree itself"},
           Row{"1v* 2v 3v 4v 5vx", "v 1 2 3 l 4", "four that are left: three vote"},
           Row{"1v* 2v 3v 4v- 5vx", "v 1 2 3 l 4", "the one that is away does not"},
           Row{"1v* 2v 3v 4vx 5vx", "v 1 2 3", "two at once"},
           Row{"1v* 2v 3vx 4lx", "v 1 l 2 4", "voters first"},
           Row{"1v*x", "none", "the last one stays"},
           Row{"1v*x 2l~", "none", "until another could vote"},
           Row{"1v*x 2l", "v 2", "which then takes all"},
           Row{"1v*x 2n", "v 1 l 2", "and joins first"},
           // The leader leaves.
           Row{"1v*x 2v 3v", "transfer 2", "the leader hands over first"},
           Row{"1vx 2v* 3v", "v 2 l 3", "and is removed by the next"},
           Row{"1v*x 2v~ 3v", "transfer 3", "to one that has caught up"},
           Row{"1v*x 2v- 3v", "transfer 3", "and is there"},
           Row{"1v*x 2v~ 3v-", "none", "or not yet"},
           Row{"1v*x 2v 3v- 4v- 5v-", "none", "nor to one that would not be elected"},
           Row{"1v*x 2v 3vx 4l 5l", "v 1 2 4 l 5", "all the rest before that"},
           Row{"1v*! 2v 3v 4l", "transfer 2", "also when it is to be replaced"},
           Row{"1v! 2v* 3v 4l", "v 2 3 4 l 1", "by the next"},
           // Lost.
           Row{"1v* 2v 3v- 4l", "none", "a voter that is away is not replaced by itself"},
           Row{"1v* 2v 3v-99999 4l", "none", "however long"},
           Row{"1v* 2v 3v-299 4l | after 300", "none", "not before its time"},
           Row{"1v* 2v 3v-300 4l | after 300", "v 1 2 4 l 3", "after the configured time"},
           Row{"1v* 2v 3v-! 4l", "v 1 2 4 l 3", "or on command"},
           Row{"1v* 2v 3v! 4l", "v 1 2 4 l 3", "also one that seems to work"},
           Row{"1v* 2v 3v-300 4l~ | after 300", "none", "only by one that has caught up"},
           Row{"1v* 2v 3v-300 4l- | after 300", "none", "and is there"},
           Row{"1v* 2v 3v-300 | after 300", "none", "where nobody could replace it, it stays"},
           Row{"1v* 2v-300 3v-300 4l 5l | after 300", "none", "never without a quorum"},
           Row{"1v* 2v 3v 4v-300 5v-900 6l | after 300", "v 1 2 3 4 6 l 5",
               "the one that is away for longest first"},
           Row{"1v* 2v 3v 4v-300 5v-900 6l 7l | after 300", "v 1 2 3 6 7 l 4 5", "both"},
           Row{"1v* 2v 4v 3l!", "none", "it comes back as a learner"},
           Row{"1v* 2v 4v 3l", "none", "and stays one while there are enough"},
           Row{"1v* 2v 4v 3l! 5l", "none", "and does not count for a pair while it is said to be lost"},
           Row{"1v* 2v- 3v- 4n", "none", "nobody is added without a quorum"},
       }) {
    CAPTURE(row.state);
    CAPTURE(row.rule);
    const State state = parse(row.state);
    const auto change = wanted_change(state.group, state.options);
    CHECK(text(change) == row.wanted);
    if (change) CHECK(change->why != "");
  }
}

TEST_CASE("a member of whom nothing is known stays as it is") {
  State state = parse("1v* 2v 3v 4l");
  std::erase_if(state.group.members, [](const GroupMember& one) { return one.id >= 3; });
  CHECK_FALSE(wanted_change(state.group, {}));
}

TEST_CASE("reasons name who it is") {
  const State state = parse("1v* 2v 3vx 4l");
  CHECK(wanted_change(state.group, state.options)->why ==
        "0000000000000004 caught up and will vote; 0000000000000003 will not vote any more");
}

namespace {

struct Walk {
  SeededRandom random;
  Group group;
  VoterOptions options;

  explicit Walk(uint64_t seed) : random(seed) {
    group.last = last;
    group.leader = 1;
    group.membership.voters = {1};
    options.most_voters = 1 + random.below(7);
    options.replace_after_s = random.below(2) == 0 ? 0 : 300;
    const size_t n = 1 + random.below(8);
    for (size_t i = 1; i <= n; ++i) group.members.push_back({i, true, false, true, 0, last});
  }
  bool active(raft::MemberId id) const {
    return std::any_of(group.members.begin(), group.members.end(),
                       [&](const GroupMember& m) { return m.id == id && m.active; });
  }
  size_t wanted() const {
    return static_cast<size_t>(std::count_if(group.members.begin(), group.members.end(),
                                             [](const GroupMember& m) { return m.wanted; }));
  }
  // As raft would do it, with the two halves checked.
  void apply(const GroupChange& change) {
    if (change.transfer_to != 0) {
      CHECK(group.membership.votes(change.transfer_to));
      CHECK(active(change.transfer_to));
      group.leader = change.transfer_to;
      return;
    }
    CHECK(raft::check(*change.membership));
    const raft::Membership joint = raft::enter(group.membership, *change.membership);
    CHECK(raft::quorum(joint, [&](raft::MemberId id) { return active(id); }));
    group.membership = *change.membership;
    if (!group.membership.votes(group.leader)) {
      for (const raft::MemberId id : group.membership.voters) {
        if (active(id)) group.leader = id;
      }
    }
  }
  // Until nothing is wanted; the number of changes is bounded.
  void settle() {
    for (int i = 0; i < 40; ++i) {
      const auto change = wanted_change(group, options);
      if (!change) return;
      apply(*change);
    }
    FAIL("it does not come to rest");
  }
  void disturb() {
    for (GroupMember& one : group.members) {
      if (one.id == group.leader) continue;
      switch (random.below(6)) {
        case 0:
          one.active = !one.active;
          one.silent_s = one.active ? 0 : static_cast<int64_t>(random.below(600));
          break;
        case 1:
          one.match = last - random.below(3000);
          break;
        case 2:
          if (wanted() > 1 && random.below(4) == 0) one.wanted = false;
          break;
        default:
          break;
      }
    }
    if (random.below(10) == 0 && wanted() > 1) {
      for (GroupMember& one : group.members) one.wanted = one.wanted && one.id != group.leader;
    }
  }
};

}  // namespace

TEST_CASE("whatever happens, the group comes to rest, and when all is well, at the wanted number") {
  int shrunk = 0, grown = 0, handed_over = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    CAPTURE(seed);
    Walk w(seed);
    for (int round = 0; round < 6; ++round) {
      const size_t voters = w.group.membership.voters.size();
      const raft::MemberId leader = w.group.leader;
      w.settle();
      shrunk += w.group.membership.voters.size() < voters ? 1 : 0;
      grown += w.group.membership.voters.size() > voters ? 1 : 0;
      handed_over += w.group.leader != leader ? 1 : 0;
      w.disturb();
      // Only a quorum keeps a leader.
      if (!raft::quorum(w.group.membership, [&](raft::MemberId id) { return w.active(id); })) {
        CHECK_FALSE(wanted_change(w.group, w.options));
      }
    }
    for (GroupMember& one : w.group.members) {
      one.active = true;
      one.silent_s = 0;
      one.match = last;
    }
    w.settle();
    const size_t most = w.options.most_voters - (w.options.most_voters % 2 == 0 ? 1 : 0);
    const size_t servers = w.wanted();
    CHECK(w.group.membership.voters.size() == std::min(most, servers - (servers % 2 == 0 ? 1 : 0)));
    CHECK(w.group.membership.voters.size() + w.group.membership.learners.size() == servers);
    for (const GroupMember& one : w.group.members) CHECK(w.group.membership.has(one.id) == one.wanted);
  }
  CHECK(shrunk > 100);
  CHECK(grown > 100);
  CHECK(handed_over > 100);
}
