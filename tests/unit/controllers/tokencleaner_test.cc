// Tokens that have expired go, by their own time.
#include <doctest/doctest.h>

#include "base/bytes.h"
#include "controllers/tokencleaner/token.h"
#include "world.h"

using namespace limpet;
using namespace limpet::controllers;

namespace {

void token(World& w, const std::string& name, const std::string& expiration,
           const std::string& type = "bootstrap.kubernetes.io/token") {
  const std::string data =
      expiration.empty() ? "" : R"("expiration":")" + base64_encode(expiration) + R"(",)";
  w.api.put("secrets/kube-system/" + name,
            R"({"metadata":{},"type":")" + type + R"(","data":{)" + data + R"("token-id":"YWJjZGVm"}})");
}

}  // namespace

TEST_CASE("tokens: the time that is left") {
  struct Row {
    const char* why;
    const char* expiration;
    int64_t ms;  // -1: for ever
  };
  const WallTime now{1767225600, 500'000'000};  // 2026-01-01T00:00:00.5Z
  const Row rows[] = {
      {"for ever", "", -1},
      {"over", "2025-12-31T23:59:59Z", 0},
      {"over half a second ago", "2026-01-01T00:00:00Z", 0},
      {"to come", "2026-01-01T00:00:10Z", 9501},
      {"elsewhere", "2026-01-01T01:00:10+01:00", 9501},
      {"no time", "tomorrow", 0},
      {"far away", "9999-01-01T00:00:00Z", 3'153'599'999'501},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    TokenView v;
    v.expiration = row.expiration;
    const std::optional<int64_t> left = time_left_ms(v, now);
    CHECK(left.value_or(-1) == row.ms);
  }
  const std::string broken = R"({"metadata":{"name":"t"},"data":{"expiration":"%"}})";
  CHECK(time_left_ms(read_token(json::Cursor(broken)), now) == 0);
}

TEST_CASE("tokens go when their time is over, and no other secret") {
  World w;
  token(w, "old", "2025-01-01T00:00:00Z");
  token(w, "soon", "2026-01-01T00:10:00Z");
  token(w, "later", "2026-01-01T05:00:00Z");
  token(w, "ever", "");
  token(w, "other", "2025-01-01T00:00:00Z", "Opaque");
  w.start();
  CHECK(w.api.names("secrets") == std::vector<std::string>{"ever", "later", "other", "soon"});
  w.pass(599'000);
  CHECK(w.api.has("secrets/kube-system/soon"));
  w.pass(1000);
  CHECK_FALSE(w.api.has("secrets/kube-system/soon"));
  // One that is given more time stays.
  token(w, "later", "2026-01-01T06:00:00Z");
  w.pass(5 * 3'600'000);
  CHECK(w.api.has("secrets/kube-system/later"));
  w.pass(3'600'000);
  CHECK(w.api.names("secrets") == std::vector<std::string>{"ever", "other"});
}

TEST_CASE("tokens: a clock that is set right is noticed within the hour") {
  World w;
  token(w, "t", "2026-06-01T00:00:00Z");
  w.start();
  w.clock.set_wall({1788220800, 0});  // September
  CHECK(w.api.has("secrets/kube-system/t"));
  w.pass(3'600'000);
  CHECK_FALSE(w.api.has("secrets/kube-system/t"));
}

TEST_CASE("tokens: a deletion that fails is tried again") {
  World w;
  token(w, "t", "2025-01-01T00:00:00Z");
  int refusals = 3;
  w.api.refuse = [&](const client::Call& call) {
    return call.method == "DELETE" && refusals-- > 0 ? 500 : 0;
  };
  w.start();
  w.pass(1000);
  CHECK_FALSE(w.api.has("secrets/kube-system/t"));
  CHECK(refusals == -1);
}
