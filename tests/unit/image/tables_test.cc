// Names, manifests, credentials and challenges as tables.
#include <doctest/doctest.h>

#include "base/bytes.h"
#include "base/sha256.h"
#include "image/auth.h"
#include "image/fetch.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/transport.h"
#include "image/unpacker.h"

using namespace limpet;
using namespace limpet::image;

namespace {

const std::string digits(64, 'a');
const std::string digest = "sha256:" + digits;

std::string descriptor(const std::string& type, const std::string& d = digest,
                       const std::string& size = "5") {
  return R"({"mediaType":")" + type + R"(","digest":")" + d + R"(","size":)" + size + "}";
}

std::string manifest(const std::string& layers, const std::string& config = descriptor("c")) {
  return R"({"schemaVersion":2,"config":)" + config + R"(,"layers":[)" + layers + "]}";
}

const std::string layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";

}  // namespace

TEST_CASE("names of images") {
  struct Row {
    std::string in, out;  // out empty: refused
  };
  const Row rows[] = {
      {"busybox", "docker.io/library/busybox:latest"},
      {"busybox:1.36", "docker.io/library/busybox:1.36"},
      {"team/app", "docker.io/team/app:latest"},
      {"docker.io/busybox", "docker.io/library/busybox:latest"},
      {"index.docker.io/team/app:v1", "docker.io/team/app:v1"},
      {"localhost/app", "localhost/app:latest"},
      {"localhost:5000/app:v1", "localhost:5000/app:v1"},
      {"127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"},
      {"[::1]:5000/app", "[::1]:5000/app:latest"},
      {"registry.example/app@" + digest, "registry.example/app@" + digest},
      {"app:v1@" + digest, "docker.io/library/app:v1@" + digest},
      {"Registry.example/app", "Registry.example/app:latest"},
      {"a/b__c/d-e--f.g", "docker.io/a/b__c/d-e--f.g:latest"},
      {"app:" + std::string(128, 'x'), "docker.io/library/app:" + std::string(128, 'x')},
      {"", ""},
      {":", ""},
      {"app:", ""},
      {"app@", ""},
      {"app@sha256:short", ""},
      {"app@md5:" + std::string(32, 'a'), ""},
      {"app@sha256:" + std::string(64, 'A'), ""},
      {"APP", ""},
      {"a/Upper", ""},
      {"-app", ""},
      {"app-", ""},
      {"a..b", ""},
      {"a___b", ""},
      {"a//b", ""},
      {"/a", ""},
      {"a/", ""},
      {"../a", ""},
      {"app:v 1", ""},
      {"app:.v", ""},
      {"app:" + std::string(129, 'x'), ""},
      {"http://registry/app", ""},
      {"registry.example:99999999/app", ""},
      {"-x.example/app", ""},
      {digits, ""},
      {std::string(300, 'a'), ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.in);
    const auto reference = parse_reference(row.in);
    CHECK_EQ(reference.has_value(), !row.out.empty());
    if (reference) CHECK_EQ(reference->text(), row.out);
    if (!reference) CHECK_EQ(reference.error().code, Errc::invalid_argument);
  }
}

TEST_CASE("manifests that are refused") {
  std::string many = descriptor(layer_type);
  for (int i = 0; i < 128; ++i) many += "," + descriptor(layer_type);
  struct Row {
    const char* what;
    std::string bytes;
    Errc code;
  };
  const Row rows[] = {
      {"no json", "x", Errc::corrupt},
      {"a list", "[]", Errc::corrupt},
      {"no layers", manifest(""), Errc::corrupt},
      {"no config", R"({"layers":[]})", Errc::corrupt},
      {"129 layers", manifest(many), Errc::too_large},
      {"md5", manifest(descriptor(layer_type, "md5:" + std::string(32, 'a'))), Errc::corrupt},
      {"path as digest", manifest(descriptor(layer_type, "sha256:../../../../etc/passwd")), Errc::corrupt},
      {"negative size", manifest(descriptor(layer_type, digest, "-1")), Errc::corrupt},
      {"real size", manifest(descriptor(layer_type, digest, "1.5")), Errc::corrupt},
      {"huge size", manifest(descriptor(layer_type, digest, "9223372036854775807")), Errc::corrupt},
      {"unknown type", manifest(descriptor("application/x-evil")), Errc::unsupported},
      {"encrypted", manifest(descriptor(layer_type + "+encrypted")), Errc::unsupported},
      {"foreign", manifest(descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
       Errc::unsupported},
      {"large config", manifest(descriptor(layer_type), descriptor("c", digest, "99999999")),
       Errc::too_large},
      {"deep", std::string(100, '[') + std::string(100, ']'), Errc::corrupt},
      {"5 MiB", std::string(5 << 20, ' '), Errc::too_large},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const auto parsed = parse_manifest(row.bytes);
    REQUIRE_FALSE(parsed.has_value());
    CHECK_EQ(errc_name(parsed.error().code), errc_name(row.code));
  }
  CHECK(parse_manifest(manifest(descriptor(layer_type))).has_value());
}

TEST_CASE("what kind of document it is") {
  struct Row {
    const char *bytes, *header;
    int kind;  // 0 manifest, 1 index, -1 refused
  };
  const Row rows[] = {
      {R"({"mediaType":"application/vnd.oci.image.index.v1+json"})", "", 1},
      {R"({"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json"})", "text/plain", 1},
      {R"({"schemaVersion":2,"manifests":[]})", "application/vnd.oci.image.index.v1+json; charset=utf-8", 1},
      {R"({"schemaVersion":2,"manifests":[]})", "application/json", 1},
      {R"({"schemaVersion":2,"layers":[]})", "", 0},
      {R"({"mediaType":"application/vnd.docker.distribution.manifest.v2+json"})", "", 0},
      {R"({"schemaVersion":1,"layers":[]})", "", -1},
      {R"({"mediaType":"text/html"})", "", -1},
      {"{}", "", -1},
      {"[]", "", -1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    const auto kind = document_kind(row.bytes, row.header);
    CHECK_EQ(kind.has_value() ? (*kind == DocumentKind::index ? 1 : 0) : -1, row.kind);
  }
}

TEST_CASE("the platform that fits best") {
  struct Row {
    Platform host;
    std::vector<Platform> offered;
    int chosen;  // index, -1: none
  };
  const Platform armv7{"linux", "arm", "v7"}, armv6{"linux", "arm", "v6"}, amd64{"linux", "amd64", ""},
      arm64{"linux", "arm64", "v8"}, i386{"linux", "386", ""}, windows{"windows", "amd64", ""},
      amd64v3{"linux", "amd64", "v3"}, unknown{"unknown", "unknown", ""}, silent{"", "", ""};
  const Row rows[] = {
      {amd64, {arm64, amd64}, 1},
      {amd64, {windows, i386, amd64}, 2},
      {amd64, {windows, i386}, 1},
      {amd64, {amd64v3, arm64}, -1},
      {armv7, {armv6, armv7}, 1},
      {armv7, {armv6, arm64}, 0},
      {armv6, {armv7, armv6}, 1},
      {armv6, {armv7}, -1},
      {arm64, {armv7, {"linux", "arm64", ""}}, 1},
      {amd64, {unknown, amd64}, 1},
      {amd64, {silent, amd64}, 1},
      {amd64, {silent}, 0},
      {amd64, {}, -1},
  };
  for (size_t i = 0; i < std::size(rows); ++i) {
    CAPTURE(i);
    std::vector<Descriptor> entries;
    for (const Platform& p : rows[i].offered) entries.push_back({"", std::to_string(entries.size()), 1, p});
    const auto chosen = select_platform(entries, rows[i].host);
    CHECK_EQ(chosen ? std::stoi(chosen->digest) : -1, rows[i].chosen);
    if (!chosen) CHECK_EQ(chosen.error().code, Errc::not_found);
  }
}

TEST_CASE("configurations and chain ids") {
  const std::string a = "sha256:" + std::string(64, '1'), b = "sha256:" + std::string(64, '2');
  const std::string two =
      R"({"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[")" + a + R"(",")" + b + "\"]}}";
  const Platform host{"linux", "amd64", ""};
  const auto config = parse_config(two, 2, host);
  REQUIRE(config.has_value());
  const auto chains = chain_ids(config->diff_ids);
  CHECK_EQ(chains[0], a);
  CHECK_EQ(chains[1], "sha256:" + sha256_hex(a + " " + b));
  CHECK_EQ(parse_config(two, 3, host).error().code, Errc::corrupt);
  CHECK_EQ(parse_config(two, 2, {"linux", "arm64", "v8"}).error().code, Errc::not_found);
  CHECK_EQ(parse_config(R"({"rootfs":{"diff_ids":["x"]}})", 1, host).error().code, Errc::corrupt);
}

TEST_CASE("credentials from Docker's configuration") {
  const std::string packed = base64_encode("u:p:with:colons");
  struct Row {
    std::string key, image;
    bool fits;
  };
  const Row rows[] = {
      {"registry.example", "registry.example/a", true},
      {"https://registry.example/v2/", "registry.example/a", true},
      {"registry.example:5000", "registry.example/a", false},
      {"registry.example/team", "registry.example/team/app", true},
      {"registry.example/team", "registry.example/teams/app", false},
      {"*.example", "registry.example/a", true},
      {"*.example", "a.registry.example/a", false},
      {"https://index.docker.io/v1/", "busybox", true},
      {"docker.io", "team/app", true},
      {"quay.io", "busybox", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.key);
    const auto found = find_credentials(R"({"auths":{")" + row.key + R"(":{"auth":")" + packed + "\"}}}",
                                        *parse_reference(row.image));
    REQUIRE(found.has_value());
    CHECK_EQ(!found->empty(), row.fits);
    if (!found->empty()) {
      CHECK_EQ(found->front().user, "u");
      CHECK_EQ(found->front().password, "p:with:colons");
    }
  }
  const auto most_specific = find_credentials(
      R"({"r.example":{"username":"a","password":"x"},"r.example/team":{"username":"b","password":"x"}})",
      *parse_reference("r.example/team/app"));
  REQUIRE(most_specific.has_value());
  REQUIRE_EQ(most_specific->size(), 2);
  CHECK_EQ(most_specific->front().user, "b");
  const auto secret = find_credentials(R"({"auths": hunter2)", *parse_reference("a"));
  REQUIRE_FALSE(secret.has_value());
  CHECK(secret.error().message.find("hunter2") == std::string::npos);
}

TEST_CASE("challenges") {
  struct Row {
    const char* header;
    size_t count;
    const char *scheme, *key, *value;  // of the first
  };
  const Row rows[] = {
      {R"(Bearer realm="https://auth.example/token",service="r.example",scope="repository:a:pull")", 1,
       "bearer", "realm", "https://auth.example/token"},
      {R"(Basic realm="x")", 1, "basic", "realm", "x"},
      {R"(Basic realm="a, b", Bearer realm="c")", 2, "basic", "realm", "a, b"},
      {R"(BEARER  Realm = "q\"uoted" , error=insufficient_scope)", 1, "bearer", "realm", "q\"uoted"},
      {"Negotiate", 1, "negotiate", "realm", ""},
      {"", 0, "", "", ""},
      {R"(realm="x")", 0, "", "", ""},
      {R"(Bearer realm="unfinished)", 1, "bearer", "realm", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.header);
    const auto found = parse_challenges(row.header);
    REQUIRE_EQ(found.size(), row.count);
    if (row.count == 0) continue;
    CHECK_EQ(found[0].scheme, row.scheme);
    CHECK_EQ(found[0].get(row.key), row.value);
  }
}

TEST_CASE("hosts that are reached without the proxy") {
  const std::vector<std::string> rules = {"registry.local", ".example.com", "10.0.0.0/8"};
  CHECK(reached_directly(rules, "registry.local"));
  CHECK(reached_directly(rules, "a.registry.local"));
  CHECK(reached_directly(rules, "a.example.com"));
  CHECK_FALSE(reached_directly(rules, "notexample.com"));
  CHECK(reached_directly(rules, "10.1.2.3"));
  CHECK_FALSE(reached_directly(rules, "11.1.2.3"));
  CHECK(reached_directly({}, "127.0.0.1"));
  CHECK(reached_directly({"*"}, "anything"));
}

TEST_CASE("sessions in the order to try") {
  loop::Loop loop;
  SystemClock clock;
  Transport transport(loop, clock, nullptr);
  const std::string config = R"({"auths":{"r.example":{"username":"a","password":"x"}}})";
  REQUIRE(
      transport.configure({.mirrors = {{"r.example", {"https://m.example/base", "http://192.0.2.7:5000"}}}})
          .has_value());
  const auto list = transport.sessions(*parse_reference("r.example/app:v1"), {config});
  REQUIRE_EQ(list.size(), 3);
  CHECK_EQ(list[0]->target("manifests/v1"), "/base/v2/app/manifests/v1?ns=r.example");
  CHECK_FALSE(list[0]->credential.has_value());  // the registry's password is not the mirror's
  CHECK_FALSE(list[1]->origin.tls);
  CHECK(list[2]->primary);
  CHECK(list[2]->origin.tls);
  CHECK(list[2]->credential.has_value());
  const auto docker = transport.sessions(*parse_reference("busybox"), {});
  REQUIRE_EQ(docker.size(), 1);
  CHECK_EQ(docker[0]->origin.host, "registry-1.docker.io");
}

TEST_CASE("reports of the unpack program") {
  CHECK_FALSE(parse_unpack_report("").has_value());
  CHECK_FALSE(parse_unpack_report(R"({"ok":true})").has_value());
  CHECK_FALSE(parse_unpack_report(R"({"ok":true,"digest":")" + digest + R"(","opaque":["%"]})").has_value());
  CHECK_FALSE(
      parse_unpack_report(R"({"ok":true,"digest":")" + digest + R"(","opaque":["AA=="]})").has_value());
  const auto good =
      parse_unpack_report(R"({"ok":true,"digest":")" + digest + R"(","bytes":7,"opaque":["ZA=="]})");
  REQUIRE(good.has_value());
  CHECK_EQ(good->unpacked.opaque.front(), "d");
  const auto bad = parse_unpack_report(R"({"ok":false,"code":"too_large","message":"m"})");
  REQUIRE_FALSE(bad.has_value());
  CHECK_EQ(bad.error().code, Errc::too_large);
}

TEST_CASE("how far a registry, and what it leads to, may be connected to") {
  loop::Loop loop;
  SystemClock clock;
  Transport transport(loop, clock, nullptr);
  REQUIRE(transport
              .configure({.mirrors = {{"r.example", {"https://m.example/base"}}},
                          .insecure = {"on-link.example:5000", "fe80::7", "169.254.7.7"}})
              .has_value());
  using loop::Reach;
  struct {
    const char *registry, *to;
    Reach reach;
  } rows[] = {
      {"registry.example", "registry.example", Reach::off_link},
      {"127.0.0.1", "127.0.0.1", Reach::off_link},
      {"169.254.169.254", "169.254.169.254", Reach::off_link},
      {"on-link.example", "on-link.example", Reach::anywhere},
      {"fe80::7", "fe80::7", Reach::anywhere},
      {"r.example", "m.example", Reach::anywhere},
      {"registry.example", "on-link.example", Reach::anywhere},
      {"registry.example", "cdn.example", Reach::off_device},
      {"127.0.0.1", "cdn.example", Reach::off_link},
      {"localhost", "cdn.example", Reach::off_link},
      {"169.254.7.7", "169.254.7.8", Reach::anywhere},
      {"169.254.7.7", "cdn.example", Reach::off_device},
  };
  for (const auto& row : rows) {
    CAPTURE(row.registry);
    CAPTURE(row.to);
    const Session session{.origin = {row.registry, 443, true, {}}};
    CHECK((transport.reach(session, {row.to, 443, true, {}}) == row.reach));
  }
  // A name is the registry on its own port only: by then it may be one of the device's.
  const Session named{.origin = {"registry.example", 5000, false, {}}};
  CHECK((transport.reach(named, {"registry.example", 5000, false, {}}) == Reach::off_link));
  CHECK((transport.reach(named, {"registry.example", 9090, false, {}}) == Reach::off_device));
  CHECK((transport.reach(named, {"registry.example", 5000, true, {}}) == Reach::off_device));
  const Session here{.origin = {"127.0.0.1", 5000, false, {}}};
  CHECK((transport.reach(here, {"127.0.0.1", 9090, false, {}}) == Reach::off_link));
  const Session listed{.origin = {"on-link.example", 5000, false, {}}};
  CHECK((transport.reach(listed, {"on-link.example", 9090, false, {}}) == Reach::anywhere));
}

TEST_CASE("where a registry may lead") {
  struct Row {
    const char *registry, *to;
    bool may;
  };
  for (const Row& row : {
           Row{"registry.example", "cdn.example", true},
           Row{"registry.example", "192.0.2.1", true},
           Row{"registry.example", "10.0.0.5", true},  // a storage server beside it
           Row{"registry.example", "localhost", false},
           Row{"registry.example", "localhost.", false},
           Row{"registry.example", "LocalHost", false},
           Row{"registry.example", "a.localhost.", false},
           Row{"registry.example", "127.0.0.1", false},
           Row{"registry.example", "127.0.0.1.", false},
           Row{"registry.example", "127.1", false},
           Row{"registry.example", "0x7f000001", false},
           Row{"registry.example", "0.0.0.0", false},
           Row{"registry.example", "::1", false},
           Row{"registry.example", "::", false},
           Row{"registry.example", "::ffff:127.0.0.1", false},
           Row{"registry.example", "169.254.169.254", false},
           Row{"registry.example", "fe80::1", false},
           Row{"127.0.0.1", "localhost.", true},
           Row{"localhost", "127.0.0.2", true},
           Row{"127.0.0.1", "169.254.169.254", false},
           Row{"169.254.7.7", "169.254.7.8", true},
           Row{"169.254.7.7", "127.0.0.1", false},
       }) {
    CAPTURE(row.registry);
    CAPTURE(row.to);
    const auto may = may_lead({row.registry, 443, true, {}}, {row.to, 443, true, {}});
    CHECK_EQ(may.has_value(), row.may);
    if (!may) CHECK_EQ(errc_name(may.error().code), errc_name(Errc::permission_denied));
  }
}
