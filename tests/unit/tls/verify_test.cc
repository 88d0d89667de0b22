#include "tls/verify.h"

#include "support.h"

using namespace limpet;
using limpet::tls_test::Ca;
using limpet::tls_test::now;

namespace {

struct Crt {
  explicit Crt(const std::string& pem) {
    mbedtls_x509_crt_init(&crt);
    REQUIRE(mbedtls_x509_crt_parse(&crt, reinterpret_cast<const unsigned char*>(pem.c_str()),
                                   pem.size() + 1) == 0);
  }
  ~Crt() { mbedtls_x509_crt_free(&crt); }
  mbedtls_x509_crt crt;
};

}  // namespace

TEST_CASE("names match as RFC 6125 has it") {
  Ca ca;
  struct Row {
    pki::Names names;
    const char* wanted;
    bool ok;
  };
  for (const Row& row : {
           Row{{{"a.example"}, {}}, "a.example", true},
           Row{{{"a.example"}, {}}, "A.Example.", true},
           Row{{{"a.example"}, {}}, "b.a.example", false},
           Row{{{"*.a.example"}, {}}, "b.a.example", true},
           Row{{{"*.a.example"}, {}}, ".a.example", false},
           Row{{{"*.a.example"}, {}}, "c.b.a.example", false},
           Row{{{"*.example"}, {}}, "a.example", false},  // a whole top-level domain
           Row{{{"10.0.0.5"}, {}}, "10.0.0.5", false},    // an address written as a host name
           Row{{{}, {"10.0.0.5"}}, "10.0.0.5", true},
           Row{{{}, {"10.0.0.5"}}, "10.0.0.50", false},
           Row{{{}, {"::1"}}, "0:0::1", true},
           Row{{{}, {"10.0.0.5"}}, "::ffff:10.0.0.5", false},
           Row{{{}, {}}, "subject", false},  // the common name counts for nothing
           Row{{{"a"}, {}}, "", false},
       }) {
    CAPTURE(row.wanted);
    Crt c(ca.issue({"subject", {}}, row.names, pki::Use::server).certificate);
    CHECK(tls::matches_name(c.crt, row.wanted) == row.ok);
  }
}
