// Registries asked as limpetd asks them: directly, over a proxy, with certificates.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "cli/doctor/registry.h"

using namespace limpet;
using namespace limpet::cli::doctor;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// A process that answers one request per connection: what is meant for TLS not at all, CONNECT with 403, a
// path with "missing" with 404, all else as a registry that wants to know who asks.
struct Server {
  std::string address;
  pid_t child = -1;

  Server() {
    const UniqueFd listening(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof in;
    REQUIRE(bind(listening.get(), reinterpret_cast<sockaddr*>(&in), size) == 0);
    REQUIRE(listen(listening.get(), 16) == 0);
    REQUIRE(getsockname(listening.get(), reinterpret_cast<sockaddr*>(&in), &size) == 0);
    address = "127.0.0.1:" + std::to_string(ntohs(in.sin_port));
    child = fork();
    if (child == 0) serve(listening.get());
  }
  ~Server() {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  Server(const Server&) = delete;

  [[noreturn]] static void serve(int listening) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
      const UniqueFd fd(accept(listening, nullptr, nullptr));
      char buffer[4096];
      const ssize_t n = fd ? read(fd.get(), buffer, sizeof buffer) : 0;
      const std::string_view request(buffer, n > 0 ? static_cast<size_t>(n) : 0);
      const char* status = request.starts_with("CONNECT ")                     ? "403 Forbidden"
                           : !request.starts_with("GET ")                      ? nullptr
                           : request.find("missing") != std::string_view::npos ? "404 Not Found"
                                                                               : "401 Unauthorized";
      if (!status) continue;
      const std::string answer =
          std::string("HTTP/1.1 ") + status + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      if (write(fd.get(), answer.data(), answer.size()) < 0) continue;
    }
  }
};

struct Asking {
  SystemClock clock;
  loop::Loop loop;
  daemon::Config config = daemon::check_config("").config;

  std::vector<Ways> ask(const std::vector<std::string>& registries, int64_t patience_ms = 5000) {
    RegistryAsker asker(loop, clock, config);
    return asker.ask(registries, patience_ms);
  }
};

}  // namespace

TEST_CASE("doctor: registries and mirrors are asked for /v2/, not for a connection only") {
  const Server server;
  Asking a;
  a.config.registries.mirrors["registry.invalid"] = {"http://" + server.address + "/missing"};
  const auto ways = a.ask({server.address, "registry.invalid", "127.0.0.1:1"});
  REQUIRE_EQ(ways.size(), 3);
  // On loopback plain HTTP serves, after https that nobody speaks.
  REQUIRE_EQ(ways[0].size(), 1);
  CHECK_EQ(ways[0][0].where, server.address);
  CHECK_EQ(ways[0][0].problem, "");
  REQUIRE_EQ(ways[1].size(), 2);
  CHECK_EQ(ways[1][0].where, server.address);
  CHECK_EQ(ways[1][0].problem, "it answers with status 404, as no registry does");
  CHECK_EQ(ways[1][1].where, "registry.invalid");
  CHECK_FALSE(ways[1][1].problem.empty());
  CHECK_FALSE(ways[2][0].problem.empty());
}

TEST_CASE("doctor: where a proxy is the only way out, it is the way that is tried") {
  const Server proxy;
  Asking a;
  a.config.proxy.http = "http://bob:hunter2@" + proxy.address;
  a.config.proxy.https = a.config.proxy.http;
  a.config.registries.insecure = {"insecure.invalid"};
  a.config.proxy.no_proxy = {"direct.invalid"};
  const auto ways = a.ask({"insecure.invalid", "secure.invalid", "direct.invalid"});
  REQUIRE_EQ(ways.size(), 3);
  CHECK_EQ(ways[0][0].where, "insecure.invalid over the proxy " + proxy.address);
  CHECK_EQ(ways[0][0].problem, "");
  CHECK_EQ(ways[1][0].where, "secure.invalid over the proxy " + proxy.address);
  CHECK(has(ways[1][0].problem, "403"));
  CHECK_FALSE(ways[1][0].certificate);
  CHECK_EQ(ways[2][0].where, "direct.invalid");
  CHECK(has(ways[2][0].problem, "name"));
}

TEST_CASE("doctor: a registry on the device's own link is refused, as a pull is") {
  const Server server;
  Asking a;
  auto ways = a.ask({"[fe80::1]:5000", server.address});
  CHECK_MESSAGE(has(ways[0][0].problem, "fe80::1 is an address of the device's own link, which is refused"),
                ways[0][0].problem);
  CHECK_EQ(ways[1][0].problem, "");
  // Where the configuration names it, it is asked.
  a.config.registries.insecure = {"[fe80::1]:5000"};
  ways = a.ask({"[fe80::1]:5000"});
  CHECK_FALSE(ways[0][0].problem.empty());  // no link is told
  CHECK_FALSE(has(ways[0][0].problem, "refused"));
}

TEST_CASE("doctor: an authority that cannot be read is the problem of every registry") {
  Asking a;
  a.config.registries.ca_file = "/nowhere/ca.pem";
  const auto ways = a.ask({"registry.invalid"});
  CHECK(has(ways[0][0].problem, "/nowhere/ca.pem"));
}

TEST_CASE("doctor: the registry in names of images and in URLs") {
  CHECK_EQ(registry_of_image("busybox"), "docker.io");
  CHECK_EQ(registry_of_image("registry.example:5000/a/b:1"), "registry.example:5000");
  CHECK_EQ(registry_of_image("Not An Image"), "");
  CHECK_EQ(registry_of_url("https://bob:x@registry.example:5000/v2"), "registry.example:5000");
  CHECK_EQ(registry_of_url("registry.example"), "registry.example");
}
