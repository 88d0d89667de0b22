// Bytes, random numbers, errors, failpoints.
#include "base/bytes.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <set>
#include <string>

#include "base/failpoint.h"
#include "base/random.h"
#include "base/sha256.h"

using namespace limpet;

TEST_CASE("base64 and hex") {
  struct Row {
    std::string_view bytes;
    const char *base64, *url, *hex;
  };
  const Row rows[] = {
      {"", "", "", ""},
      {"f", "Zg==", "Zg", "66"},
      {"fo", "Zm8=", "Zm8", "666f"},
      {"foo", "Zm9v", "Zm9v", "666f6f"},
      {"foobar", "Zm9vYmFy", "Zm9vYmFy", "666f6f626172"},
      {"\xfb\xff\xfe", "+//+", "-__-", "fbfffe"},
      {std::string_view("\0\0", 2), "AAA=", "AAA", "0000"},
  };
  for (const Row& row : rows) {
    CHECK_EQ(base64_encode(row.bytes), row.base64);
    CHECK_EQ(base64url_encode(row.bytes), row.url);
    CHECK_EQ(hex(row.bytes), row.hex);
    CHECK_EQ(unhex(row.hex).value(), row.bytes);
    CHECK_EQ(base64_decode(row.base64).value(), row.bytes);
    CHECK_EQ(base64url_decode(row.url).value(), row.bytes);
  }
  CHECK_EQ(base64_decode("Zm9v\r\nYmFy\n").value(), "foobar");
  for (const char* bad :
       {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "====", "Zm 9v", "Zm9v-_==", "=Zg=", "Zg==Zg=="}) {
    CAPTURE(bad);
    CHECK(!base64_decode(bad).has_value());
  }
  for (const char* bad : {"Z", "Zg==", "Zh", "Zm9v+/", "Zm9v\n"}) {
    CAPTURE(bad);
    CHECK(!base64url_decode(bad).has_value());
  }
}

TEST_CASE("hex digits that hex() would not write are refused, with the place") {
  struct Row {
    std::string_view text;
    const char* error;
  };
  for (const Row& row :
       {Row{"0", "1 hex digits are no whole bytes"}, Row{"abc", "3 hex digits are no whole bytes"},
        Row{"aB", "input byte 1 is no lower-case hex digit"},
        Row{"FF", "input byte 0 is no lower-case hex digit"},
        Row{"00g0", "input byte 2 is no lower-case hex digit"},
        Row{"0x", "input byte 1 is no lower-case hex digit"},
        Row{"+1", "input byte 0 is no lower-case hex digit"},
        Row{" 1", "input byte 0 is no lower-case hex digit"},
        Row{std::string_view("0\0", 2), "input byte 1 is no lower-case hex digit"}}) {
    CAPTURE(row.text);
    const Result<std::string> bytes = unhex(row.text);
    REQUIRE_FALSE(bytes.has_value());
    CHECK_EQ(bytes.error().message, row.error);
  }
  CHECK_EQ(hex64(0), "0000000000000000");
  CHECK_EQ(hex64(0xfedcba9876543210), "fedcba9876543210");
}

TEST_CASE("SHA-256, whole and in pieces") {
  CHECK_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 pieces;
  for (const char* piece : {"a", "", "bc"}) pieces.update(piece);
  CHECK_EQ(pieces.finish_hex(), sha256_hex("abc"));
  pieces.update("abc");  // finish starts over
  CHECK_EQ(pieces.finish_hex(), sha256_hex("abc"));
}

TEST_CASE("random numbers") {
  SeededRandom a(42), b(42), c(43);
  CHECK_EQ(a.u64(), b.u64());
  CHECK_NE(a.u64(), c.u64());
  SystemRandom system;
  std::set<std::string> seen;
  for (int i = 0; i < 100; i++) {
    const std::string uuid = system.uuid();
    CHECK_EQ(uuid.size(), 36);
    CHECK_EQ(uuid[14], '4');
    CHECK(std::string_view("89ab").find(uuid[19]) != std::string_view::npos);
    CHECK(seen.insert(uuid).second);
    CHECK_LT(system.below(7), 7);
    CHECK_EQ(system.suffix(5).find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos);
  }
  CHECK_EQ(system.below(1), 0);
  CHECK_EQ(system.suffix(5).size(), 5);
  // Every value of a small range comes.
  std::set<uint64_t> values;
  for (int i = 0; i < 1000; i++) values.insert(a.below(10));
  CHECK_EQ(values.size(), 10);
}

TEST_CASE("errors carry code, context and errno") {
  auto failed = fail_errno(ENOENT, "open /x");
  Error e = std::move(failed.error()).with("read configuration");
  CHECK_EQ(e.message, "read configuration: open /x: No such file or directory");
  CHECK((e.code == Errc::not_found));
  CHECK_EQ(e.sys_errno, ENOENT);
  const std::pair<int, Errc> codes[] = {{EACCES, Errc::permission_denied}, {EEXIST, Errc::already_exists},
                                        {ENOSPC, Errc::exhausted},         {EIO, Errc::io},
                                        {ETIMEDOUT, Errc::timeout},        {ECONNREFUSED, Errc::unavailable},
                                        {EINVAL, Errc::invalid_argument},  {ENOSYS, Errc::unsupported}};
  for (const auto& [err, code] : codes) CHECK((errc_of_errno(err) == code));
  CHECK_EQ(errc_name(Errc::too_large), "too_large");
  CHECK_EQ(strf("%s-%d", std::string(1000, 'x').c_str(), 7).size(), 1002);
  CHECK_EQ(fail_errno(123456, "x").error().message, "x: unknown error");
}

#ifdef LIMPET_FAILPOINTS
TEST_CASE("failpoints hit when armed, every time or the N-th") {
  failpoint::arm("a=error,b=error@2,broken,c=sleep:0");
  const bool a1 = LIMPET_FAILPOINT("a"), a2 = LIMPET_FAILPOINT("a");
  const bool b1 = LIMPET_FAILPOINT("b"), b2 = LIMPET_FAILPOINT("b"), b3 = LIMPET_FAILPOINT("b");
  CHECK((a1 && a2));
  CHECK((!b1 && b2 && !b3));
  CHECK_FALSE(LIMPET_FAILPOINT("c"));
  CHECK_FALSE(LIMPET_FAILPOINT("never armed"));
  CHECK_EQ(failpoint::hits().at("b"), 3);
  CHECK_EQ(failpoint::hits().at("never armed"), 1);
  failpoint::arm("");
  CHECK_FALSE(LIMPET_FAILPOINT("a"));
}
#endif
