#include "daemon/own_objects.h"

#include <doctest/doctest.h>

#include <optional>

#include "../temp_dir.h"
#include "base/clock.h"
#include "loop/loop.h"

namespace limpet::daemon::test {

TEST_CASE("own objects: what every cluster has is not given up, everything else is") {
  struct Row {
    const char* key;
    const char* value;
    bool given_up;
  };
  const Row rows[] = {
      {"configmaps/default/kube-root-ca.crt", "{}", false},
      {"configmaps/site/kube-root-ca.crt", "{}", false},
      {"configmaps/default/settings", "{}", true},
      {"serviceaccounts/default/default", "{}", false},
      {"serviceaccounts/default/builder", "{}", true},
      {"namespaces/default", "{}", false},
      {"namespaces/kube-system", "{}", false},
      {"namespaces/kube-public", "{}", false},
      {"namespaces/kube-node-lease", "{}", false},
      {"namespaces/site", "{}", true},
      {"nodes/edge-1", "{}", false},
      {"nodes/a-former-name", "{}", false},
      {"secrets/kube-system/bootstrap-token-abc123", "{}", false},
      {"secrets/default/bootstrap-token-abc123", "{}", true},
      {"secrets/kube-system/password", "{}", true},
      {"services/default/web", "{}", true},
      {"deployments.apps/default/web", "{}", true},
      {"widgets.example.com/default/a", "{}", true},
      {"pods/default/web", R"({"metadata":{"annotations":{"a":"b"}}})", true},
      {"pods/default/static-edge-1", R"({"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}}})",
       false},
      {"limpet/members/0000000000000001", "{}", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.key);
    CHECK_EQ(is_given_up(row.key, row.value), row.given_up);
  }
}

TEST_CASE("own objects: counts in words") {
  CHECK_EQ(in_words({}), "");
  CHECK_EQ(in_words({{"services", 1}}), "1 services");
  CHECK_EQ(in_words({{"configmaps", 3}, {"pods", 9}}), "9 pods, 3 configmaps");
  CHECK_EQ(in_words({{"a", 1}, {"b", 4}, {"c", 3}, {"d", 2}, {"e", 1}}), "4 b, 3 c, 2 d and 2 others");
}

TEST_CASE("own objects: of a store with more than a page, and of nobody who is gone") {
  limpet::test::TempDir directory;
  loop::Loop loop;
  SystemClock clock;
  store::Options options;
  options.path = directory.path + "/limpet.db";
  options.cache_bytes = 4096;  // most values come from the file
  auto opened = store::Store::open(loop, options, clock);
  REQUIRE(opened.has_value());
  store::Store& store = **opened;
  constexpr int many = 450;
  int left = 0;
  for (int i = 0; i < many; i++) {
    store::Txn txn;
    txn.ops.push_back({store::Op::Type::put, strf("configmaps/default/c%03d", i), std::string(100, 'x'), {}});
    txn.ops.push_back({store::Op::Type::put, strf("limpet/devices/d%03d", i), "{}", {}});
    left++;
    store.durable().commit(std::move(txn), [&](Result<store::Committed> r) {
      REQUIRE(r.has_value());
      left--;
    });
  }
  REQUIRE(loop.run_until([&] { return left == 0; }, 20'000));
  auto alive = std::make_shared<char>();
  std::optional<Result<ObjectCounts>> counted, forgotten;
  count_own_objects(store.durable(), alive, [&](Result<ObjectCounts> r) { counted = std::move(r); });
  REQUIRE(loop.run_until([&] { return counted.has_value(); }, 20'000));
  REQUIRE(counted->has_value());
  CHECK_EQ(**counted, ObjectCounts{{"configmaps", many}});
  auto gone = std::make_shared<char>();
  count_own_objects(store.durable(), gone, [&](Result<ObjectCounts> r) { forgotten = std::move(r); });
  const bool at_once = forgotten.has_value();
  gone.reset();
  (void)loop.run_until([] { return false; }, 50);
  CHECK_EQ(forgotten.has_value(), at_once);
  bool closed = false;
  store.close([&] { closed = true; });
  REQUIRE(loop.run_until([&] { return closed; }, 20'000));
  opened->reset();
  (void)loop.run_until([] { return false; }, 5);
}

}  // namespace limpet::daemon::test
