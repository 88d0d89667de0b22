// Addresses, the directory, back-off, the log's rate, and the check of a hello: no loop.
#include <doctest/doctest.h>

#include "../tls/support.h"
#include "peer/address.h"
#include "peer/backoff.h"
#include "peer/check.h"
#include "peer/directory.h"
#include "peer/rate_log.h"

using namespace limpet;
using namespace limpet::peer;

TEST_CASE("addresses have one form") {
  struct Row {
    const char* text;
    const char* form;  // empty: refused
  };
  for (const Row& row : {
           Row{"10.0.0.5", "10.0.0.5:6444"},
           Row{"10.0.0.5:7000", "10.0.0.5:7000"},
           Row{"device-1.site.example", "device-1.site.example:6444"},
           Row{"device_1:1", "device_1:1"},
           Row{"fd00::5", "[fd00::5]:6444"},
           Row{"[fd00::5]", "[fd00::5]:6444"},
           Row{"[fd00::5]:65535", "[fd00::5]:65535"},
           Row{"", ""},
           Row{":6444", ""},
           Row{"host:", ""},
           Row{"host:0", ""},
           Row{"host:65536", ""},
           Row{"host:+1", ""},
           Row{"host:6444x", ""},
           Row{"host:123456", ""},
           Row{"a:b:c", ""},
           Row{"[fd00::5", ""},
           Row{"[fd00::5]6444", ""},
           Row{"[10.0.0.5]:1", ""},
           Row{"ho st", ""},
           Row{"host/x", ""},
           Row{"unix:pid=1,uid=0", ""},
       }) {
    CAPTURE(row.text);
    auto got = parse_address(row.text);
    CHECK(got.has_value() == (*row.form != '\0'));
    if (!got) continue;
    CHECK(got->text() == row.form);
    CHECK(parse_address(got->text())->text() == row.form);
  }
  CHECK_FALSE(parse_address(std::string(300, 'a')));
  CHECK(host_of("192.0.2.1:4711") == "192.0.2.1");
  CHECK(host_of("[2001:db8::1]:4711") == "2001:db8::1");
  CHECK(host_of("unix:pid=1,uid=0") == "");
}

TEST_CASE("the directory follows what members say of themselves") {
  using Addresses = std::vector<std::string>;
  Directory directory;
  std::vector<Member> learned;
  directory.on_learned([&](const Member& m) { learned.push_back(m); });
  CHECK((directory.set({{1, "a", {"10.0.0.1"}},
                        {2, "b", {"10.0.0.2", "no address!", "10.0.0.2:6444"}},
                        {0, "x", {}}}) == std::vector<MemberId>{1, 2}));
  CHECK(directory.name_of(2) == "b");
  CHECK(directory.find("a") == 1);
  CHECK(directory.find("c") == 0);
  CHECK((directory.addresses(2) == Addresses{"10.0.0.2:6444"}));

  // It says what is known.
  CHECK_FALSE(directory.learn({2, 1, "b", "", 6444, {"10.0.0.2"}}, "10.0.0.2"));
  CHECK(learned.empty());
  // It moved.
  CHECK(directory.learn({2, 1, "b", "", 7000, {"10.0.9.2:7000"}}, "192.0.2.9"));
  CHECK((directory.addresses(2) == Addresses{"10.0.9.2:7000", "192.0.2.9:7000", "10.0.0.2:6444"}));
  REQUIRE(learned.size() == 1);
  CHECK((learned[0] == Member{2, "b", {"10.0.9.2:7000", "192.0.2.9:7000"}}));
  CHECK_FALSE(directory.learn({2, 1, "b", "", 7000, {"10.0.9.2:7000"}}, "192.0.2.9"));
  CHECK(learned.size() == 2);  // not stored yet
  // What the owner stores does not undo it, nor is it told again.
  CHECK(directory.set({{1, "a", {"10.0.0.1"}}, {2, "b", {"10.0.9.2:7000", "192.0.2.9:7000"}}}) ==
        std::vector<MemberId>{2});
  CHECK((directory.addresses(2) == Addresses{"10.0.9.2:7000", "192.0.2.9:7000"}));
  CHECK_FALSE(directory.learn({2, 1, "b", "", 7000, {"10.0.9.2:7000"}}, "192.0.2.9"));
  CHECK(learned.size() == 2);

  // Where it was reached comes first, until it moves.
  directory.reached(2, "192.0.2.9:7000");
  CHECK(directory.addresses(2).front() == "192.0.2.9:7000");
  CHECK(directory.learn({2, 1, "b", "", 7000, {"10.0.10.2:7000"}}, ""));
  CHECK(directory.addresses(2).front() == "10.0.10.2:7000");

  // Strangers, impostors, and one that does not listen.
  CHECK_FALSE(directory.learn({3, 1, "c", "", 6444, {"10.0.0.3"}}, ""));
  CHECK_FALSE(directory.learn({1, 1, "b", "", 6444, {"10.0.0.3"}}, ""));
  CHECK((directory.addresses(1) == Addresses{"10.0.0.1:6444"}));
  CHECK_FALSE(directory.learn({1, 1, "a", "", 0, {}}, "10.7.7.7"));
  CHECK((directory.addresses(1) == Addresses{"10.0.0.1:6444"}));
  CHECK(directory.addresses(3).empty());

  // A member id under another name is somebody else.
  directory.set({{2, "z", {"10.0.0.9"}}});
  CHECK((directory.addresses(2) == Addresses{"10.0.0.9:6444"}));
  CHECK((directory.all() == std::vector<MemberId>{2}));
}

TEST_CASE("back-off doubles up to its limit, with jitter below") {
  SeededRandom random(7);
  Backoff backoff(100, 5000);
  bool jitter = false;
  for (const int64_t step : {100, 200, 400, 800, 1600, 3200, 5000, 5000}) {
    const int64_t wait = backoff.next(random);
    CHECK(wait >= step / 2);
    CHECK(wait <= step);
    jitter = jitter || wait != step;
  }
  CHECK(jitter);
  for (int i = 0; i < 100; ++i) CHECK(backoff.next(random) <= 5000);
  backoff.reset();
  CHECK(backoff.next(random) <= 100);
}

TEST_CASE("one line a key and minute, the rest counted, and few keys remembered") {
  RateLog log;
  CHECK(log.admit("a", 0) == 0);
  CHECK_FALSE(log.admit("a", 1));
  CHECK_FALSE(log.admit("a", 59'999));
  CHECK(log.admit("b", 59'999) == 0);
  CHECK(log.admit("a", 60'000) == 2);
  CHECK(log.admit("a", 130'000) == 0);
  // However many there are: so many lines a minute.
  size_t lines = 0;
  for (int i = 0; i < 1000; ++i) lines += log.admit("key " + std::to_string(i), 200'000 + i) ? 1 : 0;
  CHECK(lines == RateLog::max_keys);
  CHECK(log.size() == RateLog::max_keys);
  CHECK_FALSE(log.admit("key 999", 201'000));
  CHECK(log.admit("key 999", 260'000) == 0);
}

TEST_CASE("a hello is checked against certificate, cluster and directory") {
  tls_test::Ca ca;
  const auto certificate = [&](const char* name, std::vector<std::string> groups) {
    return pki::parse_certificate(
               ca.issue({name, std::move(groups)}, {{"x"}, {}}, pki::Use::peer).certificate)
        .value();
  };
  const pki::Certificate server = certificate("system:node:b", {"system:nodes", "limpet:servers"});
  const pki::Certificate agent = certificate("system:node:b", {"system:nodes"});
  const pki::Certificate admin = certificate("limpet-admin", {"system:masters"});
  const pki::Certificate posing = certificate("system:node:b", {"limpet:servers"});
  const pki::Certificate prefix = certificate("system:node:", {"system:nodes", "limpet:servers"});
  const Local local{1, "a", std::string(16, 'c')};
  Directory directory;
  directory.set({{1, "a", {}}, {2, "b", {}}, {3, "d", {}}});
  struct Row {
    const char* what;
    const pki::Certificate& certificate;
    Kind kind;
    MemberId member, wanted;
    const char* name;
    char cluster;
    Reason reason;
  };
  for (const Row& row : {
           Row{"a server", server, Kind::raft, 2, 1, "b", 'c', Reason::none},
           Row{"of whoever listens", server, Kind::api, 2, 0, "b", 'c', Reason::none},
           Row{"a new member", server, Kind::raft, 9, 1, "b", 'c', Reason::none},
           Row{"an agent", agent, Kind::agent, 0, 0, "b", 'c', Reason::none},
           Row{"an agent's stream", agent, Kind::stream, 0, 0, "b", 'c', Reason::none},
           Row{"a server as agent", server, Kind::agent, 0, 0, "b", 'c', Reason::none},
           Row{"another cluster", server, Kind::raft, 2, 1, "b", 'd', Reason::cluster},
           Row{"an agent as member", agent, Kind::raft, 2, 1, "b", 'c', Reason::not_a_server},
           Row{"an agent asks the API", agent, Kind::api, 0, 0, "b", 'c', Reason::not_a_server},
           Row{"an agent asks a node", agent, Kind::node, 0, 0, "b", 'c', Reason::not_a_server},
           Row{"another name", server, Kind::raft, 3, 1, "d", 'c', Reason::name},
           Row{"another one's id", server, Kind::raft, 3, 1, "b", 'c', Reason::name},
           Row{"an admin", admin, Kind::agent, 0, 0, "limpet-admin", 'c', Reason::certificate},
           Row{"a server that is no device", posing, Kind::raft, 2, 1, "b", 'c', Reason::certificate},
           Row{"nobody", prefix, Kind::raft, 2, 1, "b", 'c', Reason::name},
           Row{"for the one before", server, Kind::raft, 2, 77, "b", 'c', Reason::not_me},
           Row{"my copy", server, Kind::raft, 1, 0, "b", 'c', Reason::my_own_id},
           Row{"no member", server, Kind::raft, 0, 1, "b", 'c', Reason::malformed},
       }) {
    CAPTURE(row.what);
    const Hello hello{1,          row.kind, std::string(16, row.cluster),
                      row.wanted, 0,        {row.member, 5, row.name, "", 1, {}}};
    const auto refused = check(local, directory, hello, row.certificate);
    CHECK(std::string(reason_name(refused ? refused->reason : Reason::none)) == reason_name(row.reason));
    if (refused) CHECK_FALSE(refused->text.empty());
  }
}
