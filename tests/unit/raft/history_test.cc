// The checker of the simulator must itself find what is wrong: histories by hand, and a naive second opinion.
#include "history.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

using sim::History;

namespace {

struct Operation {
  char kind;  // w written, ? outcome unknown, - refused, r read
  std::string value;
  sim::Time begin, end;
};

std::string judge(const std::vector<Operation>& operations) {
  History history;
  for (const Operation& o : operations) {
    if (o.kind == 'r') {
      history.read("k", o.value, o.begin, o.end);
      continue;
    }
    const History::Id id = history.write("k", o.value, o.begin);
    if (o.kind == 'w') history.done(id, o.end);
    if (o.kind == '-') history.failed(id);
  }
  return history.violation();
}

// Tries every order that real time allows. Unknown writes may happen at any time after their begin, or never.
bool explained(const std::vector<Operation>& all, std::vector<bool>& used, const std::string& value) {
  bool done = true;
  for (size_t i = 0; i < all.size(); ++i)
    done = done && (used[i] || all[i].kind == '?' || all[i].kind == '-');
  if (done) return true;
  for (size_t i = 0; i < all.size(); ++i) {
    if (used[i] || all[i].kind == '-') continue;
    bool first = true;
    for (size_t j = 0; j < all.size(); ++j) {
      if (used[j] || j == i || all[j].kind == '?' || all[j].kind == '-') continue;
      first = first && all[j].end >= all[i].begin;
    }
    if (!first || (all[i].kind == 'r' && all[i].value != value)) continue;
    used[i] = true;
    const bool found = explained(all, used, all[i].kind == 'r' ? value : all[i].value);
    used[i] = false;
    if (found) return true;
  }
  return false;
}

bool explained(const std::vector<Operation>& all) {
  std::vector<bool> used(all.size());
  return explained(all, used, "");
}

}  // namespace

TEST_CASE("histories that can and cannot be explained") {
  struct Row {
    const char* name;
    std::vector<Operation> operations;
    bool good;
  };
  const Row rows[] = {
      {"nothing", {}, true},
      {"a read of what is there", {{'w', "1", 10, 20}, {'r', "1", 30, 40}}, true},
      {"a read before the write", {{'r', "", 1, 5}, {'w', "1", 10, 20}}, true},
      {"a lost write", {{'w', "1", 10, 20}, {'r', "", 30, 40}}, false},
      {"a stale read", {{'w', "1", 10, 20}, {'w', "2", 30, 40}, {'r', "1", 50, 60}}, false},
      {"a read beside the second write", {{'w', "1", 10, 20}, {'w', "2", 30, 60}, {'r', "1", 50, 55}}, true},
      {"back and forth",
       {{'w', "1", 10, 20}, {'w', "2", 30, 90}, {'r', "2", 40, 50}, {'r', "1", 60, 70}},
       false},
      {"an unknown write that shows", {{'?', "1", 10, 0}, {'r', "1", 90, 95}}, true},
      {"an unknown write that never shows", {{'?', "1", 10, 0}, {'r', "", 90, 95}}, true},
      {"one that shows and goes", {{'?', "1", 10, 0}, {'r', "1", 20, 30}, {'r', "", 40, 50}}, false},
      {"a refused write that shows", {{'-', "1", 10, 0}, {'r', "1", 20, 30}}, false},
      {"a value from nowhere", {{'r', "7", 20, 30}}, false},
      {"a value before its write", {{'r', "1", 1, 5}, {'w', "1", 10, 20}}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(judge(row.operations).empty() == row.good);
    if (std::none_of(row.operations.begin(), row.operations.end(),
                     [](const auto& o) { return o.kind == '-'; })) {
      CHECK(explained(row.operations) == row.good);
    }
  }
}

TEST_CASE("random histories get the verdict of trying every order") {
  limpet::SeededRandom random(5);
  int good = 0, bad = 0;
  for (int run = 0; run < 4000; ++run) {
    std::vector<sim::Time> times(20);
    std::iota(times.begin(), times.end(), 1);
    for (size_t i = times.size(); i > 1; --i) std::swap(times[i - 1], times[random.below(i)]);
    std::vector<Operation> all;
    const size_t writes = 1 + random.below(3);
    for (size_t i = 0; i < writes + 3; ++i) {
      const auto [begin, end] = std::minmax(times[2 * i], times[2 * i + 1]);
      if (i < writes) {
        const bool known = random.below(4) != 0;
        all.push_back({known ? 'w' : '?', std::to_string(i), begin, known ? end : ~sim::Time{0}});
      } else {
        const uint64_t seen = random.below(writes + 1);
        all.push_back({'r', seen == writes ? "" : std::to_string(seen), begin, end});
      }
    }
    const bool expected = explained(all);
    ++(expected ? good : bad);
    REQUIRE(judge(all).empty() == expected);
  }
  CHECK(good > 200);
  CHECK(bad > 200);
}
