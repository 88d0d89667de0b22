// Who may do what, and how a refusal reads.
#include "api/authn.h"
#include "api/authz.h"
#include "fixture.h"

namespace limpet::api::test {

TEST_CASE("authorisation") {
  const NodeGraph none;
  User admin{"a", "", {"system:masters", "system:authenticated"}, {}};
  User reader{"r", "", {"limpet", "system:authenticated"}, {}};
  User other{"o", "", {"system:authenticated"}, {}};
  User nobody{"system:anonymous", "", {"system:unauthenticated"}, {}};
  struct {
    const char *method, *target;
    bool admin, reader, other, nobody;
  } rows[] = {
      {"GET", "/livez", true, true, true, true},
      {"GET", "/readyz/ping", true, true, true, true},
      {"GET", "/livezz", true, false, false, false},
      {"GET", "/version", true, true, true, false},
      {"GET", "/api", true, true, true, false},
      {"GET", "/apis/apps/v1", true, true, true, false},
      {"GET", "/openapi/v3/api/v1", true, true, true, false},
      {"GET", "/metrics", true, true, false, false},
      {"GET", "/api/v1/pods", true, true, false, false},
      {"GET", "/api/v1/namespaces/d/pods/p", true, true, false, false},
      {"GET", "/api/v1/namespaces/d/pods/p/log", true, true, false, false},
      {"GET", "/api/v1/namespaces/d/pods/p/exec", true, false, false, false},
      {"GET", "/api/v1/namespaces/d/pods/p/attach", true, false, false, false},
      {"GET", "/api/v1/nodes/n/proxy/x", true, false, false, false},
      {"GET", "/api/v1/secrets", true, false, false, false},
      {"GET", "/api/v1/namespaces/d/secrets/s", true, false, false, false},
      {"GET", "/api/v1/secrets?watch=true", true, false, false, false},
      {"POST", "/api/v1/namespaces/d/pods", true, false, false, false},
      {"DELETE", "/api/v1/namespaces/d/pods/p", true, false, false, false},
      {"DELETE", "/livez", true, true, true, true},
      {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", true, true, true, false},
      {"POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", true, true, true, false},
      {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", true, false, false, false},
  };
  for (const auto& row : rows) {
    INFO(row.method << " " << row.target);
    http::Request r;
    r.method = row.method;
    std::string_view target = row.target;
    size_t mark = target.find('?');
    r.path = target.substr(0, mark);
    if (mark != std::string_view::npos) r.query = *http::parse_query(target.substr(mark + 1));
    RequestInfo info = parse_request_info(r);
    CHECK(authorize(admin, info, none).allowed() == row.admin);
    CHECK(authorize(reader, info, none).allowed() == row.reader);
    CHECK(authorize(other, info, none).allowed() == row.other);
    CHECK(authorize(nobody, info, none).allowed() == row.nobody);
  }
}

TEST_CASE("refusals") {
  Server s;
  Answer a = s.ask({.target = "/api/v1/namespaces/default/pods", .user = "x", .groups = {}});
  CHECK(a.status == 403);
  CHECK(a.message() ==
        "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace "
        "\"default\"");
  CHECK(
      s.ask({.target = "/api/v1/nodes", .user = "x", .groups = {}}).message() ==
      "nodes is forbidden: User \"x\" cannot list resource \"nodes\" in API group \"\" at the cluster scope");
  CHECK(s.ask({.target = "/api/v1/namespaces/default/pods/p", .user = "x", .groups = {}})
            .message()
            .starts_with("pods \"p\" is forbidden: "));
  CHECK(s.ask({.target = "/secret-path", .user = "x", .groups = {}}).message() ==
        "forbidden: User \"x\" cannot get path \"/secret-path\"");
  Answer anonymous = s.ask({.target = "/api/v1/pods", .user = ""});
  CHECK(anonymous.status == 401);
  CHECK(anonymous.reason() == "Unauthorized");
  CHECK(anonymous.headers.has("WWW-Authenticate"));
  CHECK(s.ask({.target = "/readyz", .user = ""}).status == 200);
  CHECK(s.ask({.target = "/readyz", .headers = {{"Authorization", "Bearer nonsense"}}}).status == 401);
  CHECK(s.ask({.target = "/api/v1/pods", .headers = {{"Authorization", "Basic abc"}}}).status == 401);
  Answer as = s.ask({.target = "/api/v1/pods", .headers = {{"Impersonate-User", "y"}}});
  CHECK(as.status == 403);
  CHECK(as.message().find("User \"y\"") != std::string::npos);
  CHECK(s.ask({.target = "/api/v1/pods",
               .user = "x",
               .groups = {"limpet"},
               .headers = {{"Impersonate-User", "y"}}})
            .status == 403);
  CHECK(s.ask({.target = "/api/v1/pods", .user = "x", .groups = {"limpet"}}).status == 200);
}

TEST_CASE("acting for another: groups and extra as upstream completes them") {
  Server s;
  auto who = [&](std::vector<http::Header> headers) {
    return s.ask({.method = "POST",
                  .target = "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                  .body = R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})",
                  .headers = std::move(headers)});
  };
  auto groups = [](const Answer& a) {
    std::vector<std::string> out;
    a.json()["status"]["userInfo"]["groups"].each([&](std::string_view, json::Cursor g) {
      out.push_back(g.str());
      return true;
    });
    return out;
  };
  using Names = std::vector<std::string>;
  const std::string account = "system:serviceaccount:web:robot";
  CHECK(groups(who({{"Impersonate-User", account}})) ==
        Names{"system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated"});
  CHECK(groups(who({{"Impersonate-User", account}, {"Impersonate-Group", "g"}})) ==
        Names{"g", "system:authenticated"});
  CHECK(groups(who({{"Impersonate-User", "jane"}})) == Names{"system:authenticated"});
  CHECK(groups(who({{"Impersonate-User", "system:serviceaccount:web"}})) == Names{"system:authenticated"});
  Answer extra = who({{"Impersonate-User", "jane"},
                      {"Impersonate-Uid", "7"},
                      {"Impersonate-Extra-Scopes", "view"},
                      {"impersonate-extra-scopes", "edit"},
                      {"Impersonate-Extra-acme.com%2Fproject", "p"}});
  CHECK(extra.body.find(R"("uid":"7")") != std::string::npos);
  CHECK(extra.body.find(R"("extra":{"scopes":["view","edit"],"acme.com/project":["p"]})") !=
        std::string::npos);
  CHECK(who({{"Impersonate-Extra-Scopes", "view"}}).status == 400);
}

TEST_CASE("readiness says what is not ready, and only to those who are known why") {
  std::string failure;
  Server s(nullptr, [&](Options& o) {
    o.ready_checks = [&] { return std::vector<std::pair<std::string, std::string>>{{"daemon", failure}}; };
  });
  CHECK(s.get("/readyz").body == "ok");
  CHECK(s.get("/readyz?verbose").body ==
        "[+]ping ok\n[+]store ok\n[+]namespaces ok\n[+]shutdown ok\n[+]daemon ok\nreadyz check passed\n");
  CHECK(s.get("/readyz/store").body == "ok");
  CHECK(s.get("/readyz/nothing").status == 404);
  failure = "node: still taking over";
  Answer bad = s.get("/readyz");
  CHECK(bad.status == 500);
  CHECK(bad.body.find("[-]daemon failed: node: still taking over\n") != std::string::npos);
  Answer anonymous = s.ask({.target = "/readyz", .user = ""});
  CHECK(anonymous.status == 500);
  CHECK(anonymous.body.find("[-]daemon failed: reason withheld\n") != std::string::npos);
  CHECK(s.get("/readyz/ping").status == 200);
  CHECK(s.get("/livez").status == 200);
  failure.clear();
  // A store that has stopped is not ready.
  s.close_store();
  Answer stopped = s.get("/readyz");
  CHECK(stopped.status == 500);
  CHECK(stopped.body.find("[-]store failed: ") != std::string::npos);
  CHECK(s.get("/livez").status == 200);
}

TEST_CASE("the version names the build") {
  Server s;
  Answer v = s.get("/version");
  CHECK(v.json()["buildDate"].str() > "2025");
  CHECK(v.body.find("gitCommit") != std::string::npos);
}

TEST_CASE("who comes through the unix socket") {
  Options o;
  o.reader_gid = 77;
  http::Request r;
  r.peer.kind = http::Peer::Kind::unix_socket;
  r.peer.uid = 0;
  CHECK(authenticate(o, r)->in("system:masters"));
  r.peer.uid = 1000;
  r.peer.gid = 77;
  CHECK(authenticate(o, r)->in("limpet"));
  r.peer.gid = 78;
  Result<User> u = authenticate(o, r);
  CHECK_FALSE(u->in("limpet"));
  CHECK_FALSE(u->in("system:masters"));
  CHECK_FALSE(u->anonymous());
}

}  // namespace limpet::api::test
