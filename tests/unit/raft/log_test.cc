#include "raft/log.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::raft;

namespace {

Log log_of(SnapshotPoint base, const std::vector<Term>& terms) {
  Log log(base);
  for (const Term term : terms) log.append({log.last() + 1, term, EntryKind::normal, share("x")});
  return log;
}

}  // namespace

TEST_CASE("terms are known from the base to the last entry") {
  const Log log = log_of({5, 2}, {2, 3, 3});
  CHECK(log.last() == 8);
  CHECK(log.last_term() == 3);
  CHECK(log.term(4) == std::nullopt);
  CHECK(log.term(5) == 2);
  CHECK(log.term(6) == 2);
  CHECK(log.term(8) == 3);
  CHECK(log.term(9) == std::nullopt);
  CHECK(log_of({5, 2}, {}).last_term() == 2);
}

TEST_CASE("which log is at least as complete (paper 5.4.1)") {
  const Log log = log_of({0, 0}, {1, 1, 3});
  CHECK(log.up_to_date(3, 3));
  CHECK(log.up_to_date(1, 4));  // a later term wins however short
  CHECK(log.up_to_date(4, 3));
  CHECK_FALSE(log.up_to_date(2, 3));  // as new, shorter
  CHECK_FALSE(log.up_to_date(9, 2));  // longer, older
}

TEST_CASE("where logs may agree: the last entry whose term is not newer (paper 5.3)") {
  const Log log = log_of({2, 1}, {1, 4, 4, 6});  // 3@1 4@4 5@4 6@6
  CHECK(log.agreement(6, 6) == 6);
  CHECK(log.agreement(9, 9) == 6);
  CHECK(log.agreement(6, 5) == 5);
  CHECK(log.agreement(6, 3) == 3);
  CHECK(log.agreement(4, 4) == 4);
  CHECK(log.agreement(6, 0) == 2);  // terms are known down to the base only
}

TEST_CASE("slices are bounded by cost and never empty") {
  const Log log = log_of({0, 0}, {1, 1, 1, 1});
  const size_t one = Entry{1, 1, EntryKind::normal, share("x")}.cost();
  CHECK(log.slice(0, 4, 0).size() == 1);
  CHECK(log.slice(0, 4, 2 * one).size() == 2);
  CHECK(log.slice(1, 3, 100 * one).size() == 2);
  CHECK(log.slice(4, 4, 100 * one).empty());
  CHECK(log.cost(1, 3) == 2 * one);
}

TEST_CASE("truncating, forgetting and resetting keep the costs in step") {
  Log log = log_of({0, 0}, {1, 1, 1, 1});
  const size_t one = log.cost(0, 1);
  log.truncate_from(3);
  CHECK(log.last() == 2);
  log.append({3, 2, EntryKind::normal, share("xyz")});
  CHECK(log.cost(0, 3) == 3 * one + 2);
  log.forget(2, 0);
  CHECK(log.base() == 2);
  CHECK(log.term(2) == 1);
  CHECK(log.cost(2, 3) == one + 2);
  log.forget(3, 1000);  // within the bound: nothing goes
  CHECK(log.base() == 2);
  log.reset({9, 4});
  CHECK(log.last() == 9);
  CHECK(log.last_term() == 4);
  CHECK(log.cost(9, 9) == 0);
  log.append({10, 4, EntryKind::normal, share("x")});
  CHECK(log.cost(9, 10) == one);
}
