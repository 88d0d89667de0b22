// What a server tells the leader of the keys that it trusts: bytes from another device.
#include "cluster/trust.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::cluster;

TEST_CASE("a report of trust comes out as it went in") {
  const TrustReport report{{"edge-1", {"aa", "bb"}, "bb"}, {"cc"}};
  const auto out = decode_trust_report(encode(report));
  REQUIRE(out);
  CHECK(out->trust.device == "edge-1");
  CHECK(out->trust.trusted == std::vector<std::string>{"aa", "bb"});
  CHECK(out->trust.issuer == "bb");
  CHECK(out->signing == std::set<std::string>{"cc"});
}

TEST_CASE("a report of trust that no server made is refused") {
  std::string many = R"({"name":"edge-1","trusted":[)";
  for (int i = 0; i < 65; ++i) many += i == 0 ? R"("aa")" : R"(,"aa")";
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("{}"),
                                  std::string(R"({"name":"No Name"})"), many + "]}"}) {
    CAPTURE(text);
    CHECK_FALSE(decode_trust_report(text));
  }
}
