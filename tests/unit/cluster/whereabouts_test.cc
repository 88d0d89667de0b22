// What one server tells another of where a third one is.
#include "cluster/whereabouts.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::cluster;

TEST_CASE("where a server is, as another one tells it") {
  const Whereabouts there{7, {"192.0.2.7:6444", "[::1]:6444"}};
  const auto back = decode_whereabouts(encode(there));
  REQUIRE(back);
  CHECK(back->member == 7);
  CHECK(back->addresses == there.addresses);
  struct Row {
    const char* text;
    Errc code;
  };
  for (const Row& row : {Row{"", Errc::invalid_argument}, Row{"[]", Errc::invalid_argument},
                         Row{R"({"addresses":["a:1"]})", Errc::invalid_argument},
                         Row{R"({"member":"7","addresses":["a:1"]})", Errc::invalid_argument},
                         Row{R"({"member":"0000000000000007"})", Errc::invalid_argument},
                         Row{R"({"member":"0000000000000007","addresses":[]})", Errc::invalid_argument},
                         Row{R"({"member":"0000000000000007","addresses":["a"]})", Errc::invalid_argument},
                         Row{R"({"member":"0000000000000007","addresses":["a:1","a:1","a:1","a:1","a:1",)"
                             R"("a:1","a:1","a:1","a:1","a:1","a:1","a:1","a:1","a:1","a:1","a:1","a:1"]})",
                             Errc::too_large}}) {
    CAPTURE(row.text);
    const auto refused = decode_whereabouts(row.text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == row.code);
  }
}
