// Which disks the simulator may take away without taking the group's way on with them.
#include "roster.h"

#include <doctest/doctest.h>

using limpet::raft::Membership;
using sim::Roster;

namespace {

Membership voters(std::vector<limpet::raft::MemberId> ids) { return {std::move(ids), {}, {}}; }

Roster three() {
  Roster roster;
  roster.agreed(1, voters({1, 2, 3}));
  return roster;
}

}  // namespace

TEST_CASE("of three voters one may lose its disk, and the next once it is replaced") {
  Roster roster = three();
  CHECK(roster.may_lose(1));
  roster.lose(1);
  CHECK_FALSE(roster.may_lose(2));
  CHECK(roster.may_lose(9));  // who has no vote
  CHECK(roster.without_gone(voters({1, 2, 3})) == voters({2, 3}));
  roster.asked(5, {{2, 3, 4}, {1, 2, 3}, {}});
  roster.agreed(5, {{2, 3, 4}, {1, 2, 3}, {}});
  CHECK_FALSE(roster.may_lose(2));  // the old voters still count
  CHECK(roster.may_lose(4));
  roster.agreed(6, voters({2, 3, 4}));
  CHECK(roster.may_lose(2));
}

TEST_CASE("what was only asked for counts until something later is agreed on") {
  Roster roster = three();
  roster.asked(7, {{1, 2}, {1, 2, 3}, {}});
  CHECK_FALSE(roster.may_lose(1));
  CHECK(roster.may_lose(3));
  roster.agreed(6, voters({1, 2, 3}));
  CHECK_FALSE(roster.may_lose(1));
  roster.agreed(8, voters({1, 2, 3}));  // another leader's: that of before was overwritten
  CHECK(roster.may_lose(1));
  roster.asked(4, voters({1, 2}));  // of a leader that does not know yet
  CHECK(roster.may_lose(1));
}

TEST_CASE("who is gone and was left out must not come back") {
  Roster roster = three();
  roster.asked(5, {{1, 2, 3}, {}, {4}});
  roster.lose(1);
  roster.agreed(5, {{1, 2, 3}, {}, {4}});  // asked for before
  roster.agreed(8, voters({2, 3}));
  roster.agreed(5, {{1, 2, 3}, {}, {4}});  // somebody applies it later
  CHECK_THROWS_AS(roster.agreed(9, voters({1, 2, 3})), sim::Breach);
}
