// One link and what can be wrong with the other side.
#include "support.h"

using namespace limpet;
using namespace limpet::peer_test;

namespace {

std::string yes(MemberId member, const std::string& name, uint64_t session = 3) {
  return encode(Answer{1, {member, session, name, "limpet raw", 1, {}}, std::nullopt});
}

// Says yes as b and reads no more.
void take_nothing(tls::Stream& stream) {
  stream.write(yes(2, "b"));
  stream.read_stop();
}

bool says(const Device& device, MemberId id, std::string_view part) {
  return device.to(id).last_error.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("what keeps a link down stands in its status, and it is tried again") {
  Site site;
  Ca other("other-ca");
  struct Row {
    const char* what;
    Credentials theirs;
    std::string answer;  // empty: whatever happens, happens in TLS
    const char* error;
    Reason refused;
  };
  const Credentials b = site.credentials("b");
  const auto posing = [&](const char* subject, std::vector<std::string> groups) {
    const tls_test::Pair pair =
        site.ca.issue({subject, std::move(groups)}, {{"b.servers.limpet"}, {}}, pki::Use::peer);
    return Credentials{pair.certificate, pair.key, site.ca.authority.certificate_pem};
  };
  for (const Row& row : {
           Row{"an agent whose name is that of a server's certificate",
               posing("system:node:b.servers.limpet", {"system:nodes"}), yes(2, "b"),
               "it showed the certificate of 'system:node:b.servers.limpet' (no server), not that of the "
               "server b",
               Reason::none},
           Row{"an agent with the names of a server", posing("system:node:b", {"system:nodes"}), yes(2, "b"),
               "it showed the certificate of 'system:node:b' (no server), not that of the server b",
               Reason::none},
           Row{"another server with the name of this one",
               posing("system:node:z", {"system:nodes", "limpet:servers"}), yes(2, "b"),
               "it showed the certificate of 'system:node:z', not that of the server b", Reason::none},
           Row{"of another CA", site.credentials(other, "b"), "",
               "certificate of b.servers.limpet is not signed by the cluster CA", Reason::none},
           Row{"expired", site.credentials("b", true, -100), "", "certificate of b.servers.limpet expired at",
               Reason::none},
           Row{"an agent at the address of a server", site.credentials("b", false), "",
               "certificate of b.servers.limpet is for b, not for b.servers.limpet", Reason::none},
           Row{"another server", site.credentials("z"), "",
               "certificate of b.servers.limpet is for z, z.servers.limpet, not for b.servers.limpet",
               Reason::none},
           Row{"garbage", b, "HTTP/1.1 400 Bad Request\r\n\r\n", "what it sent is not the peer protocol",
               Reason::none},
           Row{"refused", b, encode(Answer{0, {}, Refusal{Reason::removed, "device a was removed"}}),
               "device b refused (removed): device a was removed", Reason::removed},
           Row{"a newer version", b,
               encode(Answer{0, {}, Refusal{Reason::version, "it speaks versions 1 to 1"}}),
               "device b refused (version): it speaks versions 1 to 1", Reason::version},
           Row{"another member", b, yes(9, "b"), "it answers as another device than its certificate is for",
               Reason::none},
           Row{"another name", b, yes(2, "c"), "it answers as another device than its certificate is for",
               Reason::none},
           Row{"a version not offered", b, encode(Answer{3, {2, 3, "b", "", 1, {}}, std::nullopt}),
               "it answers in a version of the peer protocol that this device did not offer", Reason::none},
           Row{"too talkative", b, yes(2, "b") + "and more", "a frame claims", Reason::none},
       }) {
    CAPTURE(row.what);
    Device a(site, 1, "a");
    RawServer raw(site, row.theirs, [&](tls::Stream& stream) {
      if (!row.answer.empty()) stream.write(row.answer);
    });
    a.peers->set_members({{2, "b", {raw.address()}}});
    REQUIRE(site.until([&] { return a.to(2).failures >= 3; }));
    CHECK_MESSAGE(says(a, 2, row.error), a.to(2).last_error);
    const bool named =
        says(a, 2, raw.address()) || row.refused != Reason::none || std::string(row.what) == "too talkative";
    CHECK_MESSAGE(named, a.to(2).last_error);
    CHECK(a.to(2).last_error_ms >= 0);
    CHECK((a.to(2).refused[static_cast<size_t>(row.refused)] >= 3) == (row.refused != Reason::none));
    CHECK(a.unreachable[2] >= 1);
    CHECK_FALSE(a.up(2));
  }
}

TEST_CASE("our own certificate may be what is wrong: the other side's reason is in our status") {
  Site site;
  Device b(site, 2, "b");
  PeersOptions options = site.options(1, "a");
  options.credentials = site.credentials("a", true, -100);
  Device a(site, options);
  a.peers->set_members({{2, "b", {b.address()}}});
  REQUIRE(site.until([&] { return a.to(2).failures >= 2; }));
  CHECK_MESSAGE(says(a, 2, b.address()), a.to(2).last_error);
  CHECK(b.refused(Reason::handshake) >= 1);
  // A renewed one is tried at once.
  REQUIRE(a.peers->replace(site.credentials("a")));
  require_up(site, a, 2);

  // Of an agent.
  options.credentials = site.credentials("a", false);
  Device agent(site, options);
  agent.peers->set_members({{2, "b", {b.address()}}});
  REQUIRE(site.until([&] { return agent.to(2).failures >= 1; }));
  CHECK_MESSAGE(says(agent, 2, "device b refused (not_a_server): device a has the certificate of an agent"),
                agent.to(2).last_error);
  // Of another cluster with the same authority.
  options = site.options(3, "c");
  options.cluster.assign(16, 'd');
  Device stranger(site, options);
  stranger.peers->set_members({{2, "b", {b.address()}}});
  REQUIRE(site.until([&] { return stranger.to(2).failures >= 1; }));
  CHECK_MESSAGE(says(stranger, 2,
                     "device b refused (cluster): device c is of cluster 64646464, this one (b) of "
                     "cluster 63636363"),
                stranger.to(2).last_error);
}

TEST_CASE("one that takes the connection and never answers is left for the next address") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.hello_ms = 1'000;
  Device a(site, options), b(site, 2, "b");
  RawServer mute(site, site.credentials("b"));
  a.peers->set_members({{2, "b", {mute.address()}}});
  REQUIRE(site.until([&] { return a.to(2).failures >= 1 && !mute.received.empty(); }));
  CHECK(a.to(2).last_error ==
        mute.address() + ": device b took the connection and did not answer the hello within 1000 ms");
  CHECK(mute.received[0].starts_with("LIMPET"));
  a.peers->set_members({{2, "b", {mute.address(), b.address()}}});
  require_up(site, a, 2);
  CHECK(a.to(2).address == b.address());
}

TEST_CASE("one that needs longer than it is given gets more, as far as it goes, until it has answered") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.hello_ms = 250;
  Device a(site, options);
  std::vector<std::unique_ptr<loop::Timer>> timers;
  std::vector<tls::Stream*> late;
  RawServer slow(site, site.credentials("b"), [&](tls::Stream& stream) {
    late.push_back(&stream);
    if (late.size() > 4) return;
    timers.push_back(std::make_unique<loop::Timer>(site.loop, "late"));
    timers.back()->start(600, [&stream] { stream.write(yes(2, "b")); });
  });
  a.peers->set_members({{2, "b", {slow.address()}}});
  std::vector<std::string> errors;
  const auto followed = [&] {
    if (a.to(2).failures > errors.size()) errors.push_back(a.to(2).last_error);
  };
  REQUIRE(site.until([&] {
    followed();
    return a.up(2);
  }));
  REQUIRE(errors.size() == 2);
  CHECK(errors[0].ends_with("within 250 ms"));
  CHECK(errors[1].ends_with("within 500 ms"));

  // It has answered, and begins anew. From now on it never does.
  timers.clear();
  late.resize(5);
  slow.streams.back().reset();
  REQUIRE(site.until([&] {
    followed();
    return errors.size() == 7;
  }));
  CHECK(errors[3].ends_with("within 250 ms"));
  CHECK(errors[4].ends_with("within 500 ms"));
  CHECK(errors[5].ends_with("within 1000 ms"));
  CHECK(errors[6].ends_with("within 1000 ms"));
}

TEST_CASE("a member without an address waits for one") {
  Site site;
  Device a(site, 1, "a"), b(site, 2, "b");
  a.peers->set_members({{2, "b", {}}});
  REQUIRE(site.until([&] { return a.to(2).failures >= 1; }));
  CHECK(a.to(2).last_error == "no address of device b is known");
  b.peers->set_members({a.member()});  // it dials, and says where it listens
  require_up(site, a, 2);
  CHECK(a.to(2).address == b.address());
}

TEST_CASE("the queue is bounded by bytes, and what is dropped is told") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.limits.queue_bytes = 256 * 1024;
  options.timing.stall_ms = 2'000;
  Device a(site, options);
  RawServer raw(site, site.credentials("b"), take_nothing);
  a.peers->set_members({{2, "b", {raw.address()}}});
  require_up(site, a, 2);
  const std::string message(100'000, 'm');
  // What the kernel and TLS take is not ours to count; then it is full.
  for (int i = 0; i < 1000 && a.to(2).messages_dropped == 0; ++i) {
    a.peers->send(2, message);
    site.settle();
    CHECK(a.to(2).queued <= 256 * 1024 + 1024);  // and what TLS adds
  }
  CHECK(a.to(2).messages_dropped == 1);
  CHECK(a.unreachable[2] == 1);
  CHECK(a.up(2));
  a.peers->send(2, "small");  // fits beside the large ones
  CHECK(a.to(2).messages_dropped == 1);
  for (int i = 0; i < 10; ++i) a.peers->send(2, message);
  site.settle();
  CHECK(a.to(2).messages_dropped == 11);
  CHECK(a.unreachable[2] == 2);  // once a turn

  // It takes nothing: the connection is cut.
  REQUIRE(site.until([&] { return a.to(2).failures == 1; }));
  CHECK_MESSAGE(says(a, 2, "it took none of the"), a.to(2).last_error);
  CHECK(a.to(2).queued == 0);
  REQUIRE(site.until([&] { return a.to(2).connects == 2; }));
}

TEST_CASE("a link of whose bytes the kernel gets none acknowledged is cut, too") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.stall_ms = 10 * limit_ms;
  options.timing.silence_ms = 1'000;
  Device a(site, options);
  RawServer raw(site, site.credentials("b"), take_nothing);
  a.peers->set_members({{2, "b", {raw.address()}}});
  require_up(site, a, 2);
  a.peers->send(2, std::string(kMaxRaft, 'm'));  // more than the kernel's buffers
  REQUIRE(site.until([&] { return a.to(2).failures == 1; }));
  CHECK_MESSAGE(says(a, 2, "timed out"), a.to(2).last_error);
}

TEST_CASE("a link to a process that is gone is made anew when its successor speaks") {
  Site site;
  Device a(site, 1, "a");
  RawServer raw(site, site.credentials("b"), [&](tls::Stream& stream) { stream.write(yes(2, "b", 3)); });
  a.peers->set_members({{2, "b", {raw.address()}}});
  require_up(site, a, 2);
  const Credentials b = site.credentials("b");
  Raw same(site, a.peers->port(), b, "a");
  same.write(encode(hello_of(2, "b", Kind::raft, 3)));
  REQUIRE(same.answer());
  site.settle();
  CHECK(a.to(2).connects == 1);
  CHECK(raw.received.size() == 1);
  Raw successor(site, a.peers->port(), b, "a");
  successor.write(encode(hello_of(2, "b", Kind::raft, 4)));
  REQUIRE(successor.answer());
  REQUIRE(site.until([&] { return a.to(2).connects == 2; }));
  CHECK(a.to(2).last_error == "the other side was started anew");
  CHECK(a.to(2).failures == 0);
}

TEST_CASE("a device that dials us is dialled at once, whatever the back-off") {
  Site site;
  PeersOptions options = site.options(1, "a");
  options.timing.backoff_max_ms = 3'600'000;
  options.timing.backoff_min_ms = 1;
  Device a(site, options);
  auto b = std::make_unique<Device>(site, 2, "b");
  PeersOptions again = b->options;
  again.port = b->peers->port();
  const Member member = b->member();
  b.reset();
  a.peers->set_members({member});
  REQUIRE(site.until([&] { return a.to(2).next_attempt_ms - site.loop.now_ms() > 500; }));
  const int64_t planned = a.to(2).next_attempt_ms;
  Device back(site, again);
  back.peers->set_members({a.member()});
  REQUIRE(site.until([&] { return a.to(2).incoming; }));
  CHECK(a.to(2).next_attempt_ms < planned);
  require_up(site, a, 2);
}

// A pure acknowledgement of TCP costs as much on the way as a short answer.
TEST_CASE("an answer goes back on the connection on which the message came, once, when it is short") {
  Site site;
  std::vector<std::string> answers{"short", "second of one message", std::string(2000, 'l')};
  Device* back = nullptr;
  std::vector<std::string> heard;
  PeersOptions deaf = site.options(1, "a");
  deaf.listen = false;  // so that nobody has a connection to it but those that it makes
  Device a(site, deaf);
  Device b(site, 2, "b");
  back = &b;
  b.on_raft = [&](MemberId from, std::string_view) {
    for (const std::string& answer : answers) back->peers->send(from, answer);
  };
  a.on_raft = [&](MemberId from, std::string_view message) {
    CHECK(from == 2);
    heard.emplace_back(message);
  };
  a.peers->set_members({b.member()});
  b.peers->set_members({{1, "a", {"127.0.0.1:1"}}});
  require_up(site, a, 2);
  for (size_t round = 1; round <= 3; round++) {
    a.peers->send(2, "message");
    REQUIRE(site.until([&] { return heard.size() == round; }));
    site.settle();
    CHECK(heard.size() == round);
    CHECK(heard.back() == "short");
  }
  answers = {std::string(2000, 'l')};
  a.peers->send(2, "message");
  REQUIRE(site.until([&] { return b.to(1).messages_in == 4; }));
  site.settle();
  CHECK(heard.size() == 3);
  CHECK(a.to(2).messages_in == 3);
}

TEST_CASE("messages of one turn go out together") {
  Site site;
  Device a(site, 1, "a");
  size_t reads = 0;
  RawServer raw(site, site.credentials("b"), [&](tls::Stream& stream) {
    stream.write(yes(2, "b"));
    stream.set_events(
        {.on_read = [&](std::string_view) { ++reads; }, .on_eof = {}, .on_error = {}, .on_drain = {}});
  });
  a.peers->set_members({{2, "b", {raw.address()}}});
  require_up(site, a, 2);
  REQUIRE(site.until([&] { return reads == 1; }));  // the hello
  for (int i = 0; i < 20; ++i) a.peers->send(2, "small");
  REQUIRE(site.until([&] { return reads > 1; }));
  site.settle();
  CHECK(reads == 2);  // one TLS record
}
