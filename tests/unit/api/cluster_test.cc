// Who serves what in a cluster of several servers, as whom, in which term, and what is answered when that is
// not certain.
#include "api/place.h"
#include "api/remote_user.h"
#include "cluster_fixture.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kPods = "/api/v1/namespaces/default/pods";
const std::string kEvents = "/api/v1/namespaces/default/events";

std::string event(const std::string& name) {
  return R"({"apiVersion":"v1","kind":"Event","metadata":{"name":")" + name +
         R"(","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"web"},)"
         R"("reason":"R","message":"m","type":"Normal","lastTimestamp":"2026-01-01T00:00:00Z"})";
}

std::string_view retry_after(const Answer& a) { return a.headers.get("Retry-After"); }

std::string error_of(const Answer& a) { return std::to_string(a.status) + " " + a.body; }

}  // namespace

TEST_CASE("each request is served where it belongs, whoever is asked") {
  struct Row {
    std::string method, target, body, type;
    bool at_leader;
    int status;
  } rows[] = {
      {"GET", "/version", "", "", false, 200},
      {"GET", "/api", "", "", false, 200},
      {"GET", "/apis/apps/v1", "", "", false, 200},
      {"GET", "/openapi/v3", "", "", false, 200},
      {"GET", "/livez", "", "", false, 200},
      {"GET", "/readyz", "", "", false, 200},
      {"GET", "/metrics", "", "", false, 200},
      {"GET", "/no/such/path", "", "", false, 404},
      {"GET", "/api/v1/nonsense", "", "", false, 404},
      {"POST", "/api/v1/nonsense", "{}", "", false, 404},
      {"OPTIONS", kMaps, "", "", false, 405},
      {"GET", kMaps, "", "", false, 200},
      {"GET", kMaps + "/seed", "", "", false, 200},
      {"HEAD", kMaps + "/seed", "", "", false, 200},
      {"GET", kMaps + "/absent", "", "", false, 404},
      {"GET", "/apis/apps/v1/namespaces/default/deployments/absent/scale", "", "", false, 404},
      {"GET", kPods + "/absent/log", "", "", false, 503},  // no device to ask
      {"POST", kPods + "/absent/exec?command=a&stdout=1", "", "", false, 503},
      {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
       R"({"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{}})", "", false,
       201},
      {"POST", "/apis/authentication.k8s.io/v1/tokenreviews",
       R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"x"}})", "", false,
       201},
      {"POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
       R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}})", "", false, 201},
      {"POST", kMaps, config_map("new"), "", true, 201},
      {"POST", kMaps + "?dryRun=All", config_map("dry"), "", true, 201},
      {"PUT", kMaps + "/seed", config_map("seed", R"({"k":"w"})"), "", true, 200},
      {"PATCH", kMaps + "/seed", R"({"data":{"x":"y"}})", "application/merge-patch+json", true, 200},
      {"PATCH", kMaps + "/seed?fieldManager=t&force=true",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"seed"},"data":{"z":"z"}})",
       "application/apply-patch+yaml", true, 200},
      {"DELETE", kMaps + "/new", "", "", true, 200},
      {"DELETE", kMaps + "?labelSelector=a%3Db", "", "", true, 200},
      {"POST", kMaps, "{", "", true, 400},
      {"POST", kPods, pod("web"), "", true, 201},
      {"POST", kPods + "/web/binding",
       R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"web"},"target":{"kind":"Node","name":"n"}})",
       "", true, 201},
      {"PUT", kPods + "/web/status", pod("web"), "", true, 200},
      {"POST", kPods + "/web/eviction",
       R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"web"}})", "", true, 201},
      {"PUT", "/apis/apps/v1/namespaces/default/deployments/absent/scale",
       R"({"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"absent"},"spec":{"replicas":1}})",
       "", true, 404},
      {"POST", "/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n1"}})", "",
       true, 201},
      {"PUT", "/api/v1/namespaces/n1/finalize",
       R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n1"},"spec":{"finalizers":["kubernetes"]}})",
       "", true, 200},
      {"GET", kEvents, "", "", true, 200},
      {"GET", kEvents + "/absent", "", "", true, 404},
      {"POST", kEvents, event("e1"), "", true, 201},
      {"GET", kEvents + "/e1", "", "", true, 200},
      {"DELETE", kEvents + "/e1", "", "", true, 200},
      {"DELETE", kEvents, "", "", true, 200},
      {"GET", "/apis/events.k8s.io/v1/events?resourceVersion=0", "", "", true, 200},
  };
  for (const bool asked_leads : {false, true}) {
    Cluster c([](Options& o) {
      o.identity.verify_token = [](std::string_view, const std::vector<std::string>&) -> Result<TokenProof> {
        return limpet::fail(Errc::unauthenticated, "no");
      };
      o.identity.issue_token = [](const TokenSpec&) -> Result<IssuedToken> { return IssuedToken{"t", 1}; };
    });
    REQUIRE(c.a->ask({.method = "POST", .target = kMaps, .body = config_map("seed")}).status == 201);
    Node& asked = asked_leads ? *c.a : *c.b;
    for (const Row& row : rows) {
      CAPTURE(asked_leads);
      CAPTURE(row.method);
      CAPTURE(row.target);
      const int before = asked.forwards;
      c.a->arrived.clear();
      Ask ask{.method = row.method, .target = row.target, .body = row.body};
      if (!row.type.empty()) ask.type = row.type;
      Answer a = asked.ask(std::move(ask));
      INFO(a.body);
      CHECK(a.status == row.status);
      CHECK(a.whole);
      CHECK(asked.forwards - before == (row.at_leader && !asked_leads ? 1 : 0));
      CHECK(c.a->arrived.size() == (row.at_leader && !asked_leads ? 1u : 0u));
      REQUIRE(c.until([&] { return c.caught_up(); }));
    }
  }
}

TEST_CASE("what came from another server goes no further") {
  Cluster c;
  // Each takes the other for the leader.
  c.a->stand(false, 6);
  c.a->leader = c.b.get();
  Answer a = c.b->ask({.method = "POST", .target = kMaps, .body = config_map("x")});
  CHECK(error_of(a).starts_with("503 "));
  CHECK(retry_after(a) == "1");
  CHECK(c.b->forwards == 1);
  CHECK(c.a->forwards == 0);
  CHECK(c.a->arrived.size() == 1);
  Answer events = c.b->get(kEvents);
  CHECK(events.status == 503);
  CHECK(c.a->forwards == 0);
}

TEST_CASE("the user travels, and nobody else's word for it") {
  Cluster c;
  Ask spoof{.method = "POST", .target = kMaps, .body = config_map("x")};
  spoof.headers = {{"X-Remote-User", "system:admin"}, {"X-Remote-Group", "system:masters"},
                   {"X-Remote-Extra-a", "b"},         {"X-Remote-Uid", "7"},
                   {"X-Limpet-Bound", "pods/a/b u"},  {"X-Limpet-Term", "5"},
                   {"Connection", "X-Remote-User"},   {"Cookie", "c"}};
  SUBCASE("without credentials it is nobody's, at either") {
    spoof.user = "";
    spoof.groups = {};
    for (Node* n : {c.a.get(), c.b.get()}) CHECK(n->ask(spoof).status == 401);
    CHECK(c.b->forwards == 0);
  }
  SUBCASE("with others it is theirs") {
    spoof.user = "eve";
    spoof.groups = {"tenants"};
    spoof.headers.erase(spoof.headers.begin() + 5);  // in process it would be believed
    Answer a = c.b->ask(spoof);
    CHECK(a.status == 403);
    CHECK(a.message().find("User \"eve\"") != std::string::npos);
    REQUIRE(c.a->arrived.size() == 1);
    const http::Headers& h = c.a->arrived[0].headers;
    CHECK(h.all("X-Remote-User") == std::vector<std::string_view>{"eve"});
    CHECK(h.all("X-Remote-Group") == std::vector<std::string_view>{"tenants", "system:authenticated"});
    for (const char* gone : {"X-Remote-Extra-a", "X-Remote-Uid", "X-Limpet-Bound", "X-Limpet-Term", "Cookie",
                             "Authorization", "Impersonate-User"})
      CHECK_MESSAGE(!h.has(gone), gone);
  }
  SUBCASE("the one who is acted for") {
    Ask act{.method = "POST", .target = kMaps, .body = config_map("x")};
    act.headers = {{"Impersonate-User", "ann"}, {"Impersonate-Group", "g"}, {"User-Agent", "kubectl/v1"}};
    CHECK(c.b->ask(act).status == 403);
    REQUIRE(c.a->arrived.size() == 1);
    const http::Headers& h = c.a->arrived[0].headers;
    CHECK(h.get("X-Remote-User") == "ann");
    CHECK(!h.has("Impersonate-User"));
    CHECK(!h.has("Impersonate-Group"));
    CHECK(h.get("User-Agent") == "kubectl/v1");
  }
  SUBCASE("a forwarded request acts for nobody else and needs a name") {
    struct {
      std::vector<http::Header> headers;
      int status;
    } rows[] = {
        {{{"X-Remote-User", "root"}, {"X-Remote-Group", "system:masters"}}, 200},
        {{{"X-Remote-User", "eve"}, {"Impersonate-User", "root"}, {"Impersonate-Group", "system:masters"}},
         403},
        {{{"X-Remote-User", "eve"}, {"Authorization", "Bearer good"}}, 403},
        {{{"X-Remote-Group", "system:masters"}}, 401},
        {{{"X-Remote-User", ""}, {"X-Remote-Group", "system:masters"}}, 401},
        {{{"X-Remote-User", "%zz"}, {"X-Remote-Group", "system:masters"}}, 401},
        {{{"X-Remote-User", "a"}, {"X-Remote-User", "b"}, {"X-Remote-Group", "system:masters"}}, 401},
    };
    for (const auto& row : rows) {
      http::Request r = request_of({.target = kMaps, .headers = row.headers});
      r.peer = {};
      r.peer.kind = http::Peer::Kind::forwarded;
      auto answer = std::make_shared<Answer>();
      client::MemoryExchange::Receiver receiver;
      receiver.on_head = [answer](int status, const http::Headers&) { answer->status = status; };
      receiver.on_end = [answer](bool) { answer->over = true; };
      c.a->api->handler()(std::make_shared<client::MemoryExchange>(c.loop, r, std::move(receiver)));
      REQUIRE(c.until([&] { return answer->over; }));
      CAPTURE(row.headers[0].value);
      CHECK(answer->status == row.status);
    }
  }
}

TEST_CASE("a user survives the headers, whatever the name") {
  User rows[] = {
      {.name = "a"},
      {.name = "system:serviceaccount:ns:robot",
       .uid = "u-1",
       .groups = {"system:serviceaccounts", "system:authenticated"},
       .extra = {{"authentication.kubernetes.io/pod-name", {"web-1"}}, {"UPPER/case", {"", "two words"}}},
       .bound = {{"serviceaccounts/ns/robot", "u-1"}, {"pods/ns/web 1", "u%2"}}},
      {.name = "line\r\nX-Remote-Group: system:masters", .groups = {"a,b", " padded ", "\xc3\xa4\x01\x7f"}},
      {.name = "100%25", .uid = "%", .extra = {{"k: v\r\n", {"\n"}}}},
  };
  for (const User& u : rows) {
    http::Headers h;
    write_remote_user(h, u);
    for (const http::Header& one : h.list()) {
      for (unsigned char ch : one.name + one.value) CHECK((ch >= 0x20 && ch < 0x7f));
      CHECK(one.name.find_first_of(" :/") == std::string::npos);
    }
    Result<User> back = read_remote_user(h);
    REQUIRE(back);
    CHECK(back->name == u.name);
    CHECK(back->uid == u.uid);
    CHECK(back->groups == u.groups);
    CHECK(back->extra == u.extra);
    REQUIRE(back->bound.size() == u.bound.size());
    for (size_t i = 0; i < u.bound.size(); ++i) {
      CHECK(back->bound[i].key == u.bound[i].key);
      CHECK(back->bound[i].uid == u.bound[i].uid);
    }
  }
  for (const char* bad : {"", "key", "key ", " uid", "%zz uid", "key %0"}) {
    http::Headers h;
    h.add("X-Remote-User", "a");
    h.add("X-Limpet-Bound", bad);
    CHECK_MESSAGE(!read_remote_user(h), bad);
  }
}

TEST_CASE("a decision of another term is not carried out, nor handed on") {
  Cluster c;
  struct {
    std::string term;
    bool leader;
    int status;
  } rows[] = {
      {"5", true, 201},  {"4", true, 503},  {"6", true, 503},
      {"0", true, 503},  {"5", false, 503}, {"", true, 400},
      {"5x", true, 400}, {"-5", true, 400}, {"18446744073709551621", true, 400},
  };
  int n = 0;
  for (const auto& row : rows) {
    CAPTURE(row.term);
    CAPTURE(row.leader);
    Node& node = row.leader ? *c.a : *c.b;
    Ask ask{.method = "POST", .target = kMaps, .body = config_map("m" + std::to_string(n++))};
    ask.headers = {{"X-Limpet-Term", row.term}};
    Answer a = node.ask(ask);
    CHECK(a.status == row.status);
    CHECK(retry_after(a).empty());
    // What is decided in a term is read in any.
    CHECK(node.ask({.target = kMaps, .headers = ask.headers}).status == 200);
  }
  CHECK(c.b->forwards == 0);
  // From outside it is nobody's decision.
  Ask outside{.target = kMaps, .user = "", .headers = {{"X-Limpet-Term", "x"}}};
  CHECK(c.a->ask(outside).status == 401);
}

TEST_CASE("the in-process client says in which term its user decides") {
  Cluster c;
  uint64_t term = 5;
  client::InProcessClient client(c.loop, c.a->api->handler(), "limpet:controller", {"system:masters"},
                                 [&] { return term; });
  auto create = [&](const std::string& name) {
    int status = 0;
    auto pending = client.call({.method = "POST", .path = kMaps, .body = config_map(name)},
                               [&](Result<client::Reply> r) { status = r ? r->status : -1; });
    REQUIRE(c.until([&] { return status != 0; }));
    return status;
  };
  CHECK(create("one") == 201);
  CHECK(c.a->terms == std::vector<uint64_t>{5});
  c.a->stand(true, 7);  // led, lost it, leads again
  CHECK(create("two") == 503);
  term = 7;
  CHECK(create("two") == 201);
  CHECK(c.a->terms.back() == 7);
}

TEST_CASE("every write carries the term in which it was taken on") {
  Cluster c;
  c.b->ask({.method = "POST", .target = kMaps, .body = config_map("x")});
  c.b->ask({.method = "PUT", .target = kMaps + "/x", .body = config_map("x", R"({"k":"2"})")});
  c.b->ask({.method = "DELETE", .target = kMaps + "/x"});
  c.a->ask({.method = "POST",
            .target = "/api/v1/namespaces",
            .body = R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n1"}})"});
  c.a->ask({.method = "DELETE", .target = "/api/v1/namespaces/n1"});
  REQUIRE(c.until([&] { return c.a->get("/api/v1/namespaces/n1").status == 404; }));  // the background's, too
  CHECK(c.a->terms.size() > 6);
  for (uint64_t t : c.a->terms) CHECK(t == 5);
}

TEST_CASE("what became of a commit decides what the client hears, and nothing is tried again") {
  struct Row {
    std::string method, target, body;
  } writes[] = {
      {"POST", kMaps, config_map("new")},
      {"POST", kMaps, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"g-"}})"},
      {"PUT", kMaps + "/seed", config_map("seed", R"({"k":"2"})")},
      {"PATCH", kMaps + "/seed", R"({"data":{"x":"y"}})"},
      {"DELETE", kMaps + "/seed", ""},
      {"DELETE", kMaps, ""},
      {"POST", kPods + "/web/binding",
       R"({"apiVersion":"v1","kind":"Binding","metadata":{"name":"web"},"target":{"kind":"Node","name":"n"}})"},
      {"POST", kPods + "/web/eviction",
       R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"web"}})"},
  };
  struct {
    Errc failure;
    int status;
    std::string retry_after, reason;
  } outcomes[] = {
      {Errc::unavailable, 503, "1", "ServiceUnavailable"},
      {Errc::timeout, 504, "", "Timeout"},
      {Errc::exhausted, 507, "", "InsufficientStorage"},
  };
  Cluster c;
  REQUIRE(c.a->ask({.method = "POST", .target = kMaps, .body = config_map("seed")}).status == 201);
  REQUIRE(c.a->ask({.method = "POST", .target = kPods, .body = pod("web")}).status == 201);
  for (const auto& outcome : outcomes) {
    for (const Row& row : writes) {
      for (Node* n : {c.a.get(), c.b.get()}) {
        CAPTURE(row.method);
        CAPTURE(row.target);
        c.a->failure = outcome.failure;
        c.a->terms.clear();
        Ask ask{.method = row.method, .target = row.target, .body = row.body};
        if (row.method == "PATCH") ask.type = "application/merge-patch+json";
        Answer a = n->ask(ask);
        CHECK(a.status == outcome.status);
        CHECK(a.reason() == outcome.reason);
        CHECK(retry_after(a) == outcome.retry_after);
        CHECK(c.a->terms.size() == 1);
      }
    }
  }
}

TEST_CASE("a deletion of many that stops in the middle is no invitation to try again") {
  Cluster c;
  for (int i = 0; i < 3; ++i)
    c.a->ask({.method = "POST", .target = kMaps, .body = config_map("m" + std::to_string(i))});
  c.a->terms.clear();
  auto open = c.a->open({.method = "DELETE", .target = kMaps});
  REQUIRE(c.until([&] { return !c.a->terms.empty(); }));
  c.a->failure = Errc::unavailable;
  REQUIRE(c.until([&] { return open.answer->over; }));
  CHECK(open.answer->status == 504);
  CHECK(retry_after(*open.answer).empty());
  CHECK(open.answer->message().find("a part of the objects was deleted") != std::string::npos);
}

TEST_CASE("a leader that was replaced unknown to itself says nothing of its old state") {
  Cluster c;
  REQUIRE(c.a->ask({.method = "POST", .target = kMaps, .body = config_map("seed")}).status == 201);
  const std::string same = c.a->get(kMaps + "/seed").body;
  struct {
    std::string method, target, body;
    int believed, deposed;
  } rows[] = {
      {"PUT", kMaps + "/absent", config_map("absent"), 404, 503},
      {"DELETE", kMaps + "/absent", "", 404, 503},
      {"POST", kMaps, config_map("seed"), 409, 503},
      {"POST", "/api/v1/namespaces/absent/configmaps", config_map("x"), 404, 503},
      {"POST", kMaps + "?dryRun=All", config_map("dry"), 201, 503},
      {"PUT", kMaps + "/seed", same, 200, 503},  // changes nothing
      {"POST", kMaps, "{", 400, 400},            // wrong whatever the state
      {"POST", kMaps, R"({"apiVersion":"v1","kind":"Pod"})", 400, 400},
  };
  for (const bool quorum : {true, false}) {
    c.a->quorum = quorum;
    for (const auto& row : rows) {
      CAPTURE(row.target);
      CAPTURE(row.body);
      Answer a = c.a->ask({.method = row.method, .target = row.target, .body = row.body});
      INFO(a.body);
      CHECK(a.status == (quorum ? row.believed : row.deposed));
      if (a.status == 503) CHECK(retry_after(a) == "1");
    }
  }
  // A commit is its own confirmation.
  c.a->quorum = true;
  c.a->barriers = 0;
  CHECK(c.a->ask({.method = "POST", .target = kMaps, .body = config_map("more")}).status == 201);
  CHECK(c.a->barriers == 0);
}

TEST_CASE("a new leader decides nothing before it has what the old ones acknowledged") {
  Cluster c;
  c.lag(true);
  REQUIRE(c.a->ask({.method = "POST",
                    .target = "/api/v1/namespaces",
                    .body = R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"fresh"}})"})
              .status == 201);
  // The second one is elected; what the first one acknowledged is in its log, and not in its state yet.
  c.a->stand(false, 6);
  c.b->stand(true, 6);
  c.b->quorum = false;
  auto open =
      c.b->open({.method = "POST", .target = "/api/v1/namespaces/fresh/configmaps", .body = config_map("x")});
  REQUIRE(c.until([&] { return open.answer->over; }));
  CHECK(open.answer->status == 503);
  CHECK(retry_after(*open.answer) == "1");
  c.b->quorum = true;
  c.lag(false);
  REQUIRE(c.until([&] { return c.caught_up(); }));
  c.lag(true);
  CHECK(c.b->ask({.method = "POST", .target = "/api/v1/namespaces/fresh/configmaps", .body = config_map("x")})
            .status == 201);
}

TEST_CASE("background work is the leader's, from the store, in its term") {
  Cluster c;
  const std::string owner = c.a->ask({.method = "POST", .target = kMaps, .body = config_map("owner")})
                                .json()["metadata"]["uid"]
                                .str();
  const std::string owned =
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned","ownerReferences":[{"apiVersion":"v1",)"
      R"("kind":"ConfigMap","name":"owner","uid":")" +
      owner + R"("}]}})";
  REQUIRE(c.a->ask({.method = "POST", .target = kMaps, .body = owned}).status == 201);
  REQUIRE(c.until([&] { return c.caught_up(); }));
  // Nobody leads when the owner goes: nobody follows it up.
  c.a->stand(false, 6, false);
  store::Txn txn;
  txn.ops.push_back({store::Op::Type::remove, "configmaps/default/owner", "", std::nullopt});
  c.a->store->durable().commit(std::move(txn), [](Result<store::Committed> r) { REQUIRE(r); });
  c.turns(100);
  CHECK(c.a->get(kMaps + "/owned?resourceVersion=0").status == 200);
  CHECK(c.b->get(kMaps + "/owned?resourceVersion=0").status == 200);
  c.a->terms.clear();
  c.a->stand(true, 7);
  REQUIRE(c.until([&] { return c.a->get(kMaps + "/owned").status == 404; }));
  REQUIRE(!c.a->terms.empty());
  for (uint64_t t : c.a->terms) CHECK(t == 7);
}

TEST_CASE("a server is ready with a leader, its namespaces and all of the state") {
  Cluster c;
  CHECK(c.b->get("/readyz?verbose").body ==
        "[+]ping ok\n[+]store ok\n[+]leader ok\n[+]caught-up ok\n[+]namespaces ok\n[+]shutdown ok\n"
        "readyz check passed\n");
  struct {
    bool known, quorum;
    std::string failed;
  } rows[] = {
      {false, true, "[-]leader failed: no server leads the cluster now\n"},
      {true, false, "[-]caught-up failed: no leader confirmed the read; try again\n"},
  };
  for (Node* n : {c.a.get(), c.b.get()}) {
    for (const auto& row : rows) {
      n->known = row.known;
      n->quorum = row.quorum;
      Answer a = n->get("/readyz");
      CHECK(a.status == 500);
      CHECK(a.body.find(row.failed) != std::string::npos);
      CHECK(n->get("/livez").status == 200);
      n->known = n->quorum = true;
      CHECK(n->get("/readyz").status == 200);
    }
  }
}

TEST_CASE("a token bound to what is still to come here is good, and one whose object went is not") {
  Cluster c([](Options& o) {
    o.identity.verify_token = [](std::string_view token,
                                 const std::vector<std::string>&) -> Result<TokenProof> {
      TokenProof p;
      p.user = {.name = "robot", .groups = {"system:masters"}};
      p.user.bound = {{"configmaps/default/anchor", std::string(token)}};
      return p;
    };
  });
  c.lag(true);
  const std::string uid = c.a->ask({.method = "POST", .target = kMaps, .body = config_map("anchor")})
                              .json()["metadata"]["uid"]
                              .str();
  const Ask read{.target = kMaps, .user = "", .headers = {{"Authorization", "Bearer " + uid}}};
  Ask at_once = read;
  at_once.target += "?resourceVersion=0";
  auto one = c.b->open(read), two = c.b->open(at_once);
  c.turns(20);
  CHECK(!one.answer->over);
  CHECK(!two.answer->over);
  c.lag(false);
  REQUIRE(c.until([&] { return one.answer->over && two.answer->over; }));
  CHECK(one.answer->status == 200);
  CHECK(two.answer->status == 200);
  c.lag(true);
  // Checked at the leader for what is served there.
  Ask write{.method = "POST", .target = kMaps, .body = config_map("x"), .user = "", .headers = read.headers};
  CHECK(c.b->ask(write).status == 201);
  REQUIRE(c.a->arrived.size() == 1);
  CHECK(c.a->arrived[0].headers.get("X-Limpet-Bound") == "configmaps/default/anchor " + uid);
  c.a->ask({.method = "DELETE", .target = kMaps + "/anchor"});
  write.body = config_map("y");
  CHECK(c.b->ask(write).status == 401);  // though it is still here
  c.lag(false);
  REQUIRE(c.until([&] { return c.caught_up(); }));
  for (const Ask& ask : {read, at_once}) CHECK(c.b->ask(ask).status == 401);
}

TEST_CASE("a device is believed by a server that is behind the one it heard of its pod from") {
  Cluster c;
  REQUIRE(c.a->ask({.method = "POST",
                    .target = "/api/v1/namespaces/default/secrets",
                    .body = R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}})"})
              .status == 201);
  REQUIRE(c.until([&] { return c.caught_up(); }));
  const Ask read{
      .target = "/api/v1/namespaces/default/secrets/s", .user = "system:node:n", .groups = {"system:nodes"}};
  Ask other = read;
  other.user = "system:node:other";
  CHECK(c.b->ask(read).status == 403);
  c.lag(true);
  REQUIRE(c.a->ask({.method = "POST",
                    .target = "/api/v1/namespaces/default/pods",
                    .body = pod("p", "",
                                R"(,"nodeName":"n","volumes":[{"name":"v","secret":{"secretName":"s"}}])")})
              .status == 201);
  auto one = c.b->open(read), two = c.b->open(other);
  c.turns(20);
  CHECK_FALSE(one.answer->over);  // neither refused
  CHECK_FALSE(two.answer->over);
  c.lag(false);
  REQUIRE(c.until([&] { return one.answer->over && two.answer->over; }));
  CHECK(one.answer->status == 200);
  CHECK(two.answer->status == 403);
}

TEST_CASE("heartbeats and leases are in the memory of the leader, whoever is asked") {
  Cluster c;
  REQUIRE(c.b->ask({.method = "POST",
                    .target = "/api/v1/nodes",
                    .body = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}})"})
              .status == 201);
  const Ask beat{.method = "POST",
                 .target = "/limpet/v1/heartbeat",
                 .user = "system:node:n",
                 .groups = {"system:nodes"}};
  const std::string lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
  CHECK(c.b->ask(beat).status == 204);
  const std::string renewed = c.a->get(lease).json()["spec"]["renewTime"].str();
  CHECK_FALSE(renewed.empty());
  CHECK(c.b->get(lease).json()["spec"]["renewTime"].str() == renewed);
  Ask stranger = beat;
  stranger.groups = {"people"};
  CHECK(c.b->ask(stranger).status == 403);  // judged by the leader
  c.b->line = Line::refused;
  c.a->sever();
  c.turns(5);
  CHECK(c.b->ask(beat).status == 503);
}

}  // namespace limpet::api::test
