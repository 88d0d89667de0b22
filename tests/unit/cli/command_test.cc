// Whole commands against a server of canned answers on a unix socket, on the same loop.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>

#include "base/atomic_file.h"
#include "cli/commands.h"
#include "cli/exec_channel.h"
#include "cli/format.h"
#include "cli/input.h"
#include "cli/pods.h"
#include "http/server.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

struct Device {
  loop::Loop loop;
  ManualClock clock;
  std::string directory = "/tmp/limpet-cli-test-XXXXXX";
  std::string socket;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<loop::Listener> listener;
  std::map<std::string, http::Response> answers;  // by "METHOD target"
  http::Handler streams;                          // for what is in no answer
  std::vector<std::string> asked;
  Output output;
  std::string out, err;

  Device() {
    REQUIRE(mkdtemp(directory.data()) != nullptr);
    socket = directory + "/sock";
    server = std::make_unique<http::Server>(loop, http::ServerOptions(),
                                            [this](http::ExchangePtr e) { handle(e); });
    output.out = [this](std::string_view s) {
      out += s;
      return true;
    };
    output.err = [this](std::string_view s) {
      err += s;
      return true;
    };
    json("GET /limpet/v1/version", R"({"version":"9.9","apiVersion":"v1.35.0","node":"edge"})");
  }
  ~Device() {
    listener.reset();
    server.reset();
    CHECK(loop.run_until([&] { return loop.live_handles() == 1; }, 10000));
    unlink(socket.c_str());
    unlink((directory + "/file").c_str());
    rmdir(directory.c_str());
  }

  void listen() {
    auto made = loop::Listener::unix_socket(loop, socket, 0600, [this](std::unique_ptr<loop::Stream> s) {
      server->serve(std::move(s), http::Peer());
    });
    REQUIRE(made);
    listener = std::move(*made);
  }
  void json(const std::string& question, std::string body, int status = 200) {
    answers[question] = {status, {}, std::move(body)};
  }
  void handle(const http::ExchangePtr& e) {
    const std::string question = e->request().method + " " + e->request().target;
    asked.push_back(question);
    const auto found = answers.find(question);
    if (found != answers.end()) return e->respond(found->second);
    if (streams) return streams(e);
    e->respond({404, {}, R"({"kind":"Status","message":"there is no such thing","code":404})"});
  }

  int limpet(std::vector<std::string> words) {
    if (!listener) listen();
    return limpet_without_server(std::move(words));
  }
  int limpet_without_server(std::vector<std::string> words) {
    out.clear();
    err.clear();
    asked.clear();
    words.insert(words.begin(), {"--socket", socket});
    return run(words, loop, output, clock);
  }
};

const char* web_pod =
    R"({"metadata":{"name":"web","namespace":"default","creationTimestamp":"2025-12-31T23:00:00Z"},
  "spec":{"nodeName":"edge","containers":[{"name":"app","image":"busybox:1"},{"name":"proxy","image":"p"}],
          "initContainers":[{"name":"first"}]},
  "status":{"phase":"Running","podIP":"10.42.0.2",
    "initContainerStatuses":[{"name":"first","state":{"terminated":{"exitCode":0}}}],
    "containerStatuses":[
      {"name":"app","ready":true,"restartCount":3,"state":{"running":{"startedAt":"2025-12-31T23:00:01Z"}}},
      {"name":"proxy","ready":false,"restartCount":0,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})";

std::string pod_list(std::initializer_list<std::string> pods) {
  std::string out = R"({"kind":"PodList","items":[)";
  for (const std::string& p : pods) out += (out.back() == '[' ? "" : ",") + p;
  return out + "]}";
}

void within_80(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    CAPTURE(line);
    CHECK_LE(columns_of(line), 80);
    at = end + 1;
  }
}

// Whether the part is in the text, wherever its lines were wrapped.
bool has(const std::string& text, std::string_view part) {
  std::string plain;
  for (const char c : text) {
    if (c != ' ' && c != '\n') {
      plain += c;
    } else if (!plain.ends_with(' ')) {
      plain += ' ';
    }
  }
  return plain.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("without limpetd every command says so and exits with 3") {
  Device d;
  const std::vector<std::string> rows[] = {{"status"},
                                           {"ps"},
                                           {"why", "web"},
                                           {"restart", "web"},
                                           {"top"},
                                           {"logs", "web"},
                                           {"exec", "web", "--", "ls"},
                                           {"image", "ls"},
                                           {"kubeconfig"},
                                           {"version"},
                                           {"image", "pull", "x"},
                                           {"image", "rm", "x"},
                                           {"image", "import", "/dev/null"}};
  for (const auto& words : rows) {
    CAPTURE(words[0]);
    CHECK_EQ(d.limpet_without_server(words), exit_unreachable);
    CHECK((has(d.err, "is it running? try: systemctl status limpetd ") ||
           has(d.err, "is it running? try: limpet doctor ")));
    CHECK(has(d.err, d.socket));
    CHECK_EQ(d.out, words[0] == "version" ? "limpet   " LIMPET_VERSION "\n" : "");
  }
  // A socket file that nobody listens on is the same.
  REQUIRE(write_file_atomic(d.directory + "/file", "", 0600));
  d.socket = d.directory + "/file";
  CHECK_EQ(d.limpet_without_server({"ps"}), exit_unreachable);
}

TEST_CASE("what can go wrong on the way has its own words") {
  Device d;
  Connection connection(d.loop, "/run/x.sock");
  struct Row {
    Error error;
    int exit;
    const char* message;
  };
  const Row rows[] = {
      {{Errc::permission_denied, "", EACCES},
       exit_failed,
       "no permission to use /run/x.sock: run this as root"},
      {{Errc::not_found, "", ENOENT}, exit_unreachable, "is it running?"},
      {{Errc::unavailable, "", ECONNREFUSED}, exit_unreachable, "is it running?"},
      {{Errc::timeout, "", 0}, exit_unreachable, "does not answer on /run/x.sock in time"},
      {{Errc::unavailable, "closed", 0}, exit_unreachable, "broke (closed)"},
      {{Errc::corrupt, "bad line", 0}, exit_failed, "does not speak as limpetd does: bad line"},
      {{Errc::exhausted, "no descriptors", EMFILE}, exit_unreachable, "cannot be asked: no descriptors"},
  };
  for (const Row& row : rows) {
    const Failure f = connection.broken(row.error);
    CAPTURE(f.message);
    CHECK_EQ(f.code, row.exit);
    CHECK(has(f.message, row.message));
  }
}

TEST_CASE("whoever is no limpetd is found out") {
  Device d;
  auto raw = loop::Listener::unix_socket(d.loop, d.socket, 0600, [&d](std::unique_ptr<loop::Stream> s) {
    s->write("220 mail.example.com ESMTP\r\n");
    loop::close_gently(d.loop, std::move(s), 100);
  });
  REQUIRE(raw);
  CHECK_EQ(d.limpet_without_server({"ps"}), exit_failed);
  CHECK(has(d.err, "does not speak as limpetd does"));
  within_80(d.err);
  raw->reset();
  // HTTP, but not ours.
  d.json("GET /limpet/v1/version", "<html>");
  d.json("GET /limpet/v1/status", R"({"hello":1})");
  d.json("GET /limpet/v1/kubeconfig", "hello");
  d.json("GET /limpet/v1/images", R"({"images":{}})");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"ps"}, {"status"}, {"kubeconfig"}, {"version"}, {"image", "ls"}}) {
    CAPTURE(words[0]);
    CHECK_EQ(d.limpet(words), exit_failed);
    CHECK(has(d.err, "what answers on"));
  }
}

TEST_CASE("refusals are passed on with limpetd's words") {
  Device d;
  const char* body = R"({"kind":"Status","message":"uid 7 may not: this needs root\u001b[2J","code":403})";
  d.json("GET /limpet/v1/kubeconfig", body, 403);
  CHECK_EQ(d.limpet({"kubeconfig"}), exit_failed);
  CHECK_EQ(d.err, "limpet: uid 7 may not: this needs root?[2J\n");
  d.json("GET /limpet/v1/kubeconfig", "", 500);
  CHECK_EQ(d.limpet({"kubeconfig"}), exit_failed);
  CHECK(has(d.err, "HTTP status 500"));
  d.json("GET /limpet/v1/kubeconfig", "apiVersion: v1\n");
  CHECK_EQ(d.limpet({"kubeconfig"}), exit_done);
  CHECK_EQ(d.out, "apiVersion: v1\n");
}

TEST_CASE("ps") {
  Device d;
  const std::string waiting =
      R"({"metadata":{"name":"later","namespace":"default"},"spec":{"containers":[{"name":"c"}]},
    "status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes are available"}]}})";
  const std::string elsewhere =
      R"({"metadata":{"name":"far"},"spec":{"nodeName":"other","containers":[{"name":"c"}]}})";
  d.json("GET /api/v1/namespaces/default/pods", pod_list({web_pod, waiting, elsewhere}));
  CHECK_EQ(d.limpet({"ps"}), exit_done);
  CHECK_EQ(d.out,
           "POD    CONTAINER  STATE             RESTARTS  AGE  IP\n"
           "web    app        Running           3         60m  10.42.0.2\n"
           "web    proxy      CrashLoopBackOff  0         60m  10.42.0.2\n"
           "later  c          Unscheduled       0         -    -\n"
           "later: 0/1 nodes are available\n");
  const std::string starting =
      R"({"metadata":{"name":"new","namespace":"default"},"spec":{"nodeName":"edge","containers":[{"name":"c"}]},
    "status":{"phase":"Pending","containerStatuses":[{"name":"c","state":{"waiting":{"reason":"ContainerCreating"}}}]}})";
  d.json("GET /api/v1/namespaces/default/pods", pod_list({starting}));
  d.json("GET /limpet/v1/images", R"({"images":[],"pulls":[
    {"reference":"docker.io/library/app:1","running":true,"done":13107200,"total":52428800,"layersDone":1,"layers":3}]})");
  CHECK_EQ(d.limpet({"ps"}), exit_done);
  CHECK(has(d.out, "pulling: docker.io/library/app:1, 12 MiB of 50 MiB (25%), 1 of 3 layers"));
  d.json("GET /api/v1/namespaces/default/pods", pod_list({web_pod, waiting, elsewhere}));
  CHECK_EQ(d.limpet({"ps", "-o", "json"}), exit_done);
  const auto rows = json::parse(d.out);
  REQUIRE(rows);
  CHECK_EQ(rows->ref().size(), 2);
  CHECK_EQ(rows->ref().at(0)["containers"].size(), 2);
  CHECK_EQ(rows->ref().at(0)["containers"].at(1)["state"].str(), "CrashLoopBackOff");
  CHECK_EQ(rows->ref().at(0)["containers"].at(0)["restarts"].integer(), 3);
  d.json("GET /api/v1/pods", pod_list({}));
  CHECK_EQ(d.limpet({"ps", "-A"}), exit_done);
  CHECK_EQ(d.out, "");
  CHECK(has(d.err, "no pods on this device"));
  CHECK_EQ(d.limpet({"ps", "-A", "-o", "json"}), exit_done);
  CHECK_EQ(d.out, "[]\n");
  CHECK_EQ(d.limpet({"ps", "-n", "a/b"}), exit_failed);  // an encoded slash is refused
  CHECK_EQ(d.limpet({"ps", "-n", "nope"}), exit_not_found);
}

TEST_CASE("states of containers") {
  const std::pair<const char*, const char*> rows[] = {
      {R"({"ready":true,"state":{"running":{}}})", "Running"},
      {R"({"ready":false,"state":{"running":{}}})", "Running, unready"},
      {R"({"state":{"waiting":{"reason":"ImagePullBackOff"}}})", "ImagePullBackOff"},
      {R"({"state":{"waiting":{}}})", "Waiting"},
      {R"({"state":{"terminated":{"exitCode":0,"reason":"Completed"}}})", "Completed"},
      {R"({"state":{"terminated":{"exitCode":0}}})", "Completed"},
      {R"({"state":{"terminated":{"exitCode":7,"reason":"Error"}}})", "Error (exit 7)"},
      {R"({"state":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}})", "OOMKilled (exit 137)"},
      {R"({})", "Waiting"},
      {R"({"state":7})", "Waiting"},
  };
  for (const auto& [status, state] : rows) {
    auto pod = json::parse(R"({"spec":{"containers":[{"name":"c"}]},"status":{"containerStatuses":[]}})");
    auto s = json::parse(status);
    s->ref().set("name", "c");
    pod->ref()["status"]["containerStatuses"].push(std::move(*s));
    const PodLine line = read_pod(pod->ref());
    REQUIRE_EQ(line.containers.size(), 1);
    CHECK_EQ(line.containers[0].state, state);
  }
}

TEST_CASE("logs: the container, the options and the bytes") {
  Device d;
  d.json("GET /api/v1/namespaces/default/pods/web", web_pod);
  d.json("GET /api/v1/namespaces/default/pods/web/log?container=app", std::string("a\0b\n", 4));
  CHECK_EQ(d.limpet({"logs", "web"}), exit_done);
  CHECK_EQ(d.out, std::string("a\0b\n", 4));
  CHECK_EQ(d.err, "");
  d.json(
      "GET "
      "/api/v1/namespaces/default/pods/web/"
      "log?container=proxy&follow=true&previous=true&timestamps=true&tailLines=5&sinceSeconds=60",
      "x");
  CHECK_EQ(d.limpet({"logs", "web/proxy", "-fpt", "--tail=5", "--since", "1m"}), exit_done);
  CHECK_EQ(d.out, "x");
  CHECK_EQ(d.limpet({"logs", "web", "-c", "nope"}), exit_not_found);
  CHECK_EQ(d.err, "limpet: the pod web has no container nope; it has: app, proxy, first\n");
  CHECK_EQ(d.limpet({"logs", "gone"}), exit_not_found);
  CHECK(has(d.err, "there is no pod gone in the namespace default try: limpet ps -A"));
  CHECK_EQ(d.limpet({"logs", "web/app", "-c", "proxy"}), exit_usage);
  CHECK_EQ(d.limpet({"logs", "web/"}), exit_usage);
  d.json("GET /api/v1/namespaces/default/pods/web/log?container=first",
         R"({"message":"container \"first\" is waiting to start"})", 400);
  CHECK_EQ(d.limpet({"logs", "web/first"}), exit_failed);
  CHECK(has(d.err, "is waiting to start"));
  CHECK_EQ(d.out, "");
  // Nobody reads any more: quietly the end.
  d.output.out = [](std::string_view) { return false; };
  CHECK_EQ(d.limpet({"logs", "web"}), exit_failed);
  CHECK_EQ(d.err, "");
}

TEST_CASE("logs that break off in the middle are no success") {
  Device d;
  d.json("GET /api/v1/namespaces/default/pods/web", web_pod);
  d.streams = [](http::ExchangePtr e) {
    e->begin(200, {});
    e->write("half");
    e->abort();
  };
  CHECK_EQ(d.limpet({"logs", "web", "-f"}), exit_unreachable);
  CHECK_EQ(d.out, "half");
  CHECK(has(d.err, "broke"));
}

TEST_CASE("why: one paragraph, the last lines, the exit status") {
  Device d;
  const std::string pod = "GET /api/v1/namespaces/default/pods/web";
  d.json(
      pod,
      R"({"metadata":{"name":"web","namespace":"default","uid":"u1"},"spec":{"nodeName":"edge","restartPolicy":"Always",
    "containers":[{"name":"app","image":"a"}]},"status":{"phase":"Running","containerStatuses":[{"name":"app","restartCount":4,
    "state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":3}}}]}})");
  d.json("GET /limpet/v1/pods/default/web",
         R"({"steps":[],"containers":[{"name":"app","retryInSeconds":8}]})");
  d.json("GET /api/v1/namespaces/default/pods/web/log?container=app&tailLines=5", "one\ntwo \x1b[0m words\n");
  CHECK_EQ(d.limpet({"why", "web"}), exit_failed);
  CHECK_EQ(d.out,
           "Container app failed with exit status 3, after 4 restarts; it is started again\n"
           "in 8s. The program itself fails: its last lines may say why.\n\n"
           "The last lines of app:\n  one\n  two ?[0m words\n");
  CHECK_EQ(d.asked[1], "GET /api/v1/namespaces/default/events?fieldSelector=involvedObject.uid%3Du1");
  CHECK_EQ(d.limpet({"why", "web", "-o", "json"}), exit_failed);
  const auto parsed = json::parse(d.out);
  REQUIRE(parsed);
  CHECK_EQ(parsed->ref()["state"].str(), "wrong");
  CHECK_EQ(parsed->ref()["reason"].str(), "CrashLoopBackOff");
  CHECK_EQ(parsed->ref()["log"].size(), 2);
  // Nothing but the pod itself is needed.
  d.answers.erase("GET /limpet/v1/pods/default/web");
  d.json(pod, web_pod);
  CHECK_EQ(d.limpet({"why", "web"}), exit_failed);
  CHECK(has(d.out, "Container proxy"));
  CHECK_EQ(d.limpet({"why", "gone"}), exit_not_found);
  CHECK(has(d.err, "there is no pod gone in the namespace default try: limpet ps -A"));
  CHECK_EQ(d.limpet({"why", "web/app"}), exit_usage);
  CHECK(has(d.err, "limpet why web"));
}

TEST_CASE("restart: asks the device, and says what it refuses") {
  Device d;
  d.json("POST /limpet/v1/pods/kube-system/dns/restart", R"({"containers":["a","b"]})");
  CHECK_EQ(d.limpet({"restart", "dns", "-n", "kube-system"}), exit_done);
  CHECK_EQ(d.out, "dns: 2 containers restarted\n");
  CHECK_EQ(d.limpet({"restart", "gone"}), exit_not_found);
  CHECK(has(d.err, "the pod gone of the namespace default does not run on this device try: limpet ps -A"));
  d.json("POST /limpet/v1/pods/default/done/restart",
         R"({"message":"default/done: the pod has ended for good"})", 409);
  CHECK_EQ(d.limpet({"restart", "done"}), exit_failed);
  CHECK_EQ(d.err, "limpet: default/done: the pod has ended for good\n");
  CHECK_EQ(d.limpet({"restart", "web/app"}), exit_usage);
}

TEST_CASE("top: once, with nothing running") {
  Device d;
  d.json("GET /api/v1/pods", pod_list({}));
  d.json("GET /limpet/v1/status", R"({"disk":{"totalBytes":1000,"freeBytes":100}})");
  CHECK_EQ(d.limpet({"top"}), exit_done);
  CHECK(has(d.out, "device: cpu "));
  CHECK(has(d.out, "disk 900 B of 1.0 KiB"));
  CHECK(has(d.out, "no container runs"));
  CHECK_EQ(d.limpet({"top", "-o", "json"}), exit_done);
  CHECK(json::parse(d.out));
  CHECK_EQ(d.limpet({"top", "--sort", "pids"}), exit_usage);
  CHECK_EQ(d.limpet({"top", "--watch", "2h"}), exit_usage);
}

TEST_CASE("support-bundle: also without limpetd, and no half of it is left") {
  Device d;
  const std::string file = d.directory + "/file";
  CHECK_EQ(d.limpet_without_server({"support-bundle", file}), exit_done);
  CHECK_EQ(d.out, file + "\n");
  CHECK(has(d.err, "before you give it away"));
  struct stat st;
  REQUIRE(stat(file.c_str(), &st) == 0);
  CHECK_EQ(st.st_mode & 0777, 0600);
  const std::string bytes = read_file(file, 1 << 24).value_or("");
  CHECK(bytes.starts_with("\x1f\x8b"));
  CHECK_EQ(d.limpet_without_server({"support-bundle", "/nowhere/x.tar.gz"}), exit_failed);
  CHECK_EQ(d.limpet_without_server({"support-bundle", "-"}), exit_done);
  CHECK(d.out.starts_with("\x1f\x8b"));
  d.output.out_terminal = true;
  CHECK_EQ(d.limpet_without_server({"support-bundle", "-"}), exit_usage);
}

TEST_CASE("exec: output, exit status, refusals") {
  Device d;
  d.json("GET /api/v1/namespaces/default/pods/web", web_pod);
  std::unique_ptr<http::WebSocket> socket;
  std::string status = R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"42"}]}})";
  bool drop = false;
  d.streams = [&](http::ExchangePtr e) {
    auto upgraded = e->upgrade(exec_protocol);
    REQUIRE(upgraded);
    socket = std::move(*upgraded);
    socket->set_events({});
    socket->send(exec_message(Channel::out, "out\n"));
    socket->send(exec_message(Channel::err, "err\n"));
    socket->send(exec_message(static_cast<Channel>(9), "?"));
    socket->send("");
    if (drop) return socket.reset();
    if (!status.empty()) socket->send(exec_message(Channel::status, status));
    socket->close(1000, "");
  };
  CHECK_EQ(d.limpet({"exec", "web", "--", "sh", "-c", "a b&c"}), 42);
  CHECK_EQ(d.out, "out\n");
  CHECK_EQ(d.err, "err\n");
  CHECK_EQ(d.asked.back(),
           "GET /api/v1/namespaces/default/pods/web/exec?container=app&stdout=true&stderr=true"
           "&command=sh&command=-c&command=a%20b%26c");
  status = R"({"status":"Success"})";
  CHECK_EQ(d.limpet({"exec", "web/proxy", "--", "ls"}), 0);
  status = "";
  CHECK_EQ(d.limpet({"exec", "web", "--", "ls"}), 0);
  drop = true;
  CHECK_EQ(d.limpet({"exec", "web", "--", "ls"}), exit_failed);
  CHECK(has(d.err, "the command may still run"));
  d.streams = [](http::ExchangePtr e) {
    e->respond({400, {}, R"({"message":"cannot exec into a container in a completed pod","code":400})"});
  };
  CHECK_EQ(d.limpet({"exec", "web", "--", "ls"}), exit_failed);
  CHECK_EQ(d.err, "limpet: cannot exec into a container in a completed pod\n");
  CHECK_EQ(d.limpet({"exec", "-t", "web", "--", "ls"}), exit_usage);
  socket.reset();
}

TEST_CASE("status fits, and tells what is wrong") {
  Device d;
  d.json("GET /limpet/v1/status",
         R"({"daemon":{"version":"9.9","uptimeSeconds":90061,"pssBytes":6291456},
      "node":{"name":"edge","addresses":["192.0.2.1","2001:db8:1111:2222:3333:4444:5555:6666","2001:db8:1111:2222:3333:4444:5555:7777"],"apiURL":"https://127.0.0.1:6443"},
      "notReady":[{"part":"node","reason":"the node is still taking over what runs and this takes a while longer than usual"}],
      "runtime":"runc 1.1.5","store":{"objects":12,"revision":99,"fileBytes":1048576,"walBytes":0},
      "pulls":[{"reference":"r/app:1","running":true,"done":1048576,"total":4194304,"layersDone":0,"layers":2},
               {"reference":"r/next:1","running":true},{"reference":"r/last:1","running":false}],
      "disk":{"path":"/var/lib/limpet","totalBytes":1000000000,"freeBytes":10000000},
      "certificates":[{"name":"ca","notAfter":"2036-01-01T00:00:00Z","daysLeft":3650},{"name":"serving","notAfter":"2025-01-01T00:00:00Z","daysLeft":-365}]})");
  d.json("GET /api/v1/pods", pod_list({web_pod}));
  CHECK_EQ(d.limpet({"status"}), exit_done);
  within_80(d.out);
  CHECK_FALSE(has(d.out, "\033"));
  for (const char* part :
       {"edge, not ready", "node: the node is still", "9.9, up 25h, memory 6.0 MiB", "runc 1.1.5",
        "0 of 1 running; see: limpet ps -A", "12 objects, revision 99, 1.0 MiB", "9.5 MiB of 954 MiB free",
        "serving expired on 2025-01-01", "r/app:1, 1.0 MiB of 4.0 MiB (25%), 0 of 2 layers",
        "r/next:1, asking the registry", "r/last:1, waits for other pulls"}) {
    CAPTURE(part);
    CHECK(has(d.out, part));
  }
  d.output.colour = true;
  CHECK_EQ(d.limpet({"status"}), exit_done);
  CHECK(has(d.out, "\033[31m"));
  CHECK_EQ(d.limpet({"status", "-o", "json"}), exit_done);
  const auto parsed = json::parse(d.out);
  REQUIRE(parsed);
  CHECK_EQ(parsed->ref()["pods"]["total"].integer(), 1);
}

TEST_CASE("status of an agent says who holds it, or that it is cut off, and what the servers know") {
  struct Row {
    const char* held;
    const char* reported;
    std::vector<const char*> parts, absent;
  };
  const Row rows[] = {
      {R"({"server":"edge-1","sinceSeconds":7200,"problem":""})",
       R"({"heartbeatSeconds":4,"nodeSeconds":3600,"podsWaiting":0,"problem":""})",
       {"agent, held by edge-1 for 120m", "heartbeat 4s ago, Node confirmed 60m ago"},
       {"cut off", "still to be told", "store:", "API:"}},
      {R"({"server":"","sinceSeconds":180,"problem":"edge-2: connect to 10.0.0.2 port 6444: No route to host"})",
       R"({"heartbeatSeconds":185,"podsWaiting":2,"problem":"no answer within an interval"})",
       {"agent, cut off from all servers for 3m", "edge-2: connect to 10.0.0.2", "heartbeat 3m5s ago",
        "the state of 2 pods still to be told", "no answer within an interval"},
       {"held by", "Node confirmed"}},
      // Since the start; what it says came from elsewhere.
      {R"({"server":"","sinceSeconds":5,"problem":""})",
       R"({"podsWaiting":0,"problem":""})",
       {"cut off from all servers for 5s", "no answer from ?[31m", "no heartbeat was heard since the start"},
       {"held by"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.held);
    Device d;
    d.json("GET /limpet/v1/status",
           std::string(R"({"daemon":{"version":"9.9","uptimeSeconds":61,"pssBytes":6291456},)"
                       R"("node":{"name":"field-1","role":"agent","addresses":["192.0.2.1"]},"notReady":[],)"
                       R"("servers":{"inUse":"","problem":"no answer from \u001b[31m","known":["edge-1"]},)"
                       R"("disk":{"path":"/var/lib/limpet","totalBytes":1000,"freeBytes":900},"heldBy":)") +
               row.held + R"(,"reported":)" + row.reported + "}");
    d.json("GET /api/v1/pods", pod_list({web_pod}));
    CHECK_EQ(d.limpet({"status"}), exit_done);
    within_80(d.out);
    std::string text;  // folded lines as one
    for (const char c : d.out) {
      if (c == '\n' || (c == ' ' && text.ends_with(' '))) {
        if (!text.ends_with(' ')) text += ' ';
      } else {
        text += c;
      }
    }
    for (const char* part : row.parts) {
      CAPTURE(part);
      CHECK(has(text, part));
    }
    for (const char* part : row.absent) {
      CAPTURE(part);
      CHECK_FALSE(has(text, part));
    }
    CHECK_FALSE(has(d.out, "\033"));
  }
}

TEST_CASE("images") {
  Device d;
  d.json("GET /limpet/v1/images",
         R"({"images":[{"id":"sha256:0123456789abcdef","references":["docker.io/library/busybox:1"],
    "repoDigests":[],"size":2097152,"pinned":false,"inUse":true},{"id":"sha256:fe","references":[],"repoDigests":[],"size":1}]})");
  CHECK_EQ(d.limpet({"image", "ls"}), exit_done);
  CHECK_EQ(d.out,
           "IMAGE                        ID            SIZE     USED\n"
           "docker.io/library/busybox:1  0123456789ab  2.0 MiB  yes\n"
           "<none>                       fe            1 B      no\n");
  d.json("GET /limpet/v1/images",
         R"({"images":[],"pulls":[{"reference":"r/app:1","running":true,"total":10,"done":5}]})");
  CHECK_EQ(d.limpet({"image", "ls"}), exit_done);
  CHECK_EQ(d.out, "");
  CHECK(has(d.err, "pulling r/app:1, 5 B of 10 B (50%)"));
  const std::string pull = "POST /limpet/v1/images/pull?reference=a%3A1";
  const std::string layer = R"({"layer":"sha256:aa","phase":"complete","done":5,"total":5})"
                            "\n";
  d.json(pull, layer + R"({"ok":true,"image":"sha256:bb","references":["docker.io/library/a:1"]})"
                       "\n");
  CHECK_EQ(d.limpet({"image", "pull", "a:1"}), exit_done);
  CHECK_EQ(d.out, "docker.io/library/a:1\n");
  CHECK_EQ(d.err, "layer aa complete, 5 B\n");
  d.json(pull, R"({"ok":false,"code":"not_found","message":"a:1: no such image"})");
  CHECK_EQ(d.limpet({"image", "pull", "a:1"}), exit_not_found);
  CHECK_EQ(d.err, "limpet: a:1: no such image\n");
  d.json(pull, layer);
  CHECK_EQ(d.limpet({"image", "pull", "a:1"}), exit_failed);
  CHECK(has(d.err, "ended too early"));
  d.json("DELETE /limpet/v1/images?reference=a%3A1", R"({"ok":false,"message":"a:1 is in use"})", 409);
  CHECK_EQ(d.limpet({"image", "rm", "a:1"}), exit_failed);
  CHECK_EQ(d.err, "limpet: a:1 is in use\n");
  CHECK_EQ(d.limpet({"image", "import", d.directory + "/none.tar"}), exit_not_found);
}

TEST_CASE("where the socket is") {
  Device d;
  const std::string file = d.directory + "/file";
  struct Row {
    const char* config;
    const char* socket;  // nullptr: a failure when the file was named
  };
  const Row rows[] = {
      {"", "/run/limpet/limpet.sock"},
      {"runDir: /x\n", "/x/limpet.sock"},
      {"runDir: /x\nlisten:\n  socket: /y/s\n", "/y/s"},
      {"unknown: key\nrunDir: /x\n", "/x/limpet.sock"},
      {"runDir: [1\n", nullptr},
      {"- 1\n", "/run/limpet/limpet.sock"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.config);
    REQUIRE(write_file_atomic(file, row.config, 0600));
    const auto named = find_socket("", file, true);
    CHECK_EQ(named.has_value(), row.socket != nullptr);
    if (named) CHECK_EQ(*named, row.socket);
    CHECK_EQ(find_socket("", file, false).value_or("?"), row.socket ? row.socket : "/run/limpet/limpet.sock");
    CHECK_EQ(find_socket("/z", file, true).value_or("?"), "/z");
  }
  CHECK_FALSE(find_socket("", d.directory + "/none", true));
  CHECK_EQ(find_socket("", d.directory + "/none", false).value_or("?"), "/run/limpet/limpet.sock");
}

TEST_CASE("input comes whole from pipes and files, and waits while paused") {
  Device d;
  const std::string text(100000, 'x');
  REQUIRE(write_file_atomic(d.directory + "/file", text, 0600));
  for (const bool pipe_wanted : {true, false}) {
    int fds[2] = {-1, -1};
    if (pipe_wanted) {
      REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
      REQUIRE(write_all(fds[1], std::string_view(text).substr(0, 60000)));
      close(fds[1]);
    } else {
      fds[0] = open((d.directory + "/file").c_str(), O_RDONLY | O_CLOEXEC);
    }
    const int flags = fcntl(fds[0], F_GETFL);
    std::string got;
    int ends = 0;
    {
      std::unique_ptr<Input> input;
      input = std::make_unique<Input>(d.loop, fds[0], 1000, [&](std::string_view bytes) {
        CHECK_LE(bytes.size(), 1000);
        got += bytes;
        if (bytes.empty()) ends++;
        if (got.size() == 5000) input->pause(true);
      });
      CHECK(d.loop.run_until([&] { return got.size() == 5000; }, 10000));
      d.loop.run_until([] { return false; }, 20);
      CHECK_EQ(got.size(), 5000);
      input->pause(false);
      CHECK(d.loop.run_until([&] { return ends > 0; }, 10000));
      d.loop.run_until([] { return false; }, 20);
    }
    CHECK_EQ(ends, 1);
    CHECK_EQ(got.size(), pipe_wanted ? 60000 : 100000);
    CHECK_EQ(fcntl(fds[0], F_GETFL), flags);
    close(fds[0]);
  }
}
