// What the simulators say of what they did: parts of a run are added up by it (tests/lib/runner.py).
#include "faults.h"

#include <doctest/doctest.h>

using sim::Fault;
using sim::Faults;
using sim::Simulator;

TEST_CASE("faults are added up by kind, and a simulator names each kind that it has") {
  Faults one, other;
  one.count(Fault::loss);
  one.count(Fault::torn, 2);
  one.count(Fault::snapshot);
  other.count(Fault::loss, 3);
  other.count(Fault::failpoint, 5);
  one.add(other);
  CHECK(one.done() == 9);  // what came of it is not done to anybody
  const std::string core = one.text(Simulator::core), stores = one.text(Simulator::stores);
  CHECK(core.starts_with("faults by kind: loss=4 duplicate=0 "));
  CHECK(core.ends_with(" snapshot=1"));
  CHECK(core.find("; seen: reorder=0 ") != std::string::npos);
  CHECK(core.find("torn") == std::string::npos);
  CHECK(core.find("failpoint") == std::string::npos);
  CHECK(stores.find(" failpoint=5 ") < stores.find("; seen:"));
  CHECK(stores.find(" torn=2 ") > stores.find("; seen:"));
  CHECK(stores.find("torn=2") != std::string::npos);
}

TEST_CASE("a message is overtaken by one that was sent later on the same way") {
  sim::Paths paths;
  const uint64_t first = paths.sent(1, 2), second = paths.sent(1, 2), back = paths.sent(2, 1);
  CHECK_FALSE(paths.overtaken(1, 2, second));
  CHECK_FALSE(paths.overtaken(2, 1, back));
  CHECK(paths.overtaken(1, 2, first));
  CHECK_FALSE(paths.overtaken(1, 2, second));  // the same one again is not behind anything
}
