// Long lists while others write: every object once, over a transport as well as in process, however slowly
// the store or the client goes.
#include <map>

#include "fixture.h"
#include "http/server.h"
#include "loop/stream.h"

namespace limpet::api::test {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

// The first pages fill the client's queue, the later ones come from the file one after another.
constexpr int kLarge = 250, kSmall = 900;

store::Options cold() {
  store::Options o;
  o.cache_bytes = 64 << 10;
  return o;
}

std::string numbered(const char* kind, int n) { return kind + std::to_string(10000 + n); }

void fill(Server& s) {
  const std::string large = R"({"k":")" + std::string(3000, 'x') + "\"}";
  for (int i = 0; i < kLarge; ++i) REQUIRE(s.post(kMaps, config_map(numbered("a", i), large)).status == 201);
  for (int i = 0; i < kSmall; ++i) REQUIRE(s.post(kMaps, config_map(numbered("n", i))).status == 201);
}

// How often each object is in the list; those of the writer do not count.
using Seen = std::map<std::string, int>;

void count(std::string_view list, Seen& seen) {
  REQUIRE(json::validate(list));
  json::Cursor(list)["items"].each([&](std::string_view, json::Cursor item) {
    std::string name = item["metadata"]["name"].str();
    if (name[0] == 'a' || name[0] == 'n') ++seen[name];
    return true;
  });
}

void check_each_once(const Seen& seen) {
  CHECK(seen.size() == kLarge + kSmall);
  for (const auto& [name, times] : seen) {
    CAPTURE(name);
    CHECK(times == 1);
  }
}

// Writes one object after another until destroyed, each as soon as the one before is there.
struct Writer {
  explicit Writer(Server& server) : s(server) { write(); }
  ~Writer() {
    *stop = true;
    s.until([this] { return last.answer->over; });
  }
  void write() {
    last = s.open({.method = "POST", .target = kMaps, .body = config_map(numbered("z", written++))});
    wait();
  }
  void wait() {
    s.loop.defer([this, stopped = stop] {
      if (*stopped) return;
      last.answer->over ? write() : wait();
    });
  }
  Server& s;
  Server::Open last;
  int written = 0;
  std::shared_ptr<bool> stop = std::make_shared<bool>(false);
};

// In process.
std::string fetch_in_process(Server& s, const std::string& target) { return s.get(target).body; }

// Over a stream, by a client that takes its time. The body of the answer, whose end is the end of the stream.
std::string fetch_by_stream(Server& s, const std::string& target) {
  http::Server server(s.loop, {}, s.api->handler());
  auto pair = loop::stream_pair(s.loop);
  REQUIRE(pair);
  http::Peer root;
  root.kind = http::Peer::Kind::unix_socket;
  root.uid = 0;
  server.serve(std::move(pair->second), root);
  std::string got;
  bool over = false;
  loop::Stream& client = *pair->first;
  client.set_events({.on_read =
                         [&](std::string_view bytes) {
                           got += bytes;
                           client.read_stop();
                           s.loop.defer([&] {
                             if (!over) client.read_start();
                           });
                         },
                     .on_eof = [&] { over = true; },
                     .on_error = [&](Error) { over = true; }});
  client.read_start();
  client.write("GET " + target + " HTTP/1.0\r\nHost: device\r\n\r\n");
  REQUIRE(s.until([&] { return over; }));
  pair->first.reset();
  size_t head = got.find("\r\n\r\n");
  REQUIRE(head != std::string::npos);
  return got.substr(head + 4);
}

using Fetch = std::string (*)(Server&, const std::string&);
constexpr Fetch kFetches[] = {fetch_in_process, fetch_by_stream};

}  // namespace

TEST_CASE("a long list has every object once while others write") {
  Server s(nullptr, nullptr, cold());
  fill(s);
  Writer writer(s);
  for (Fetch fetch : kFetches) {
    for (const char* query : {"", "?limit=1000000", "?labelSelector=!nobody"}) {
      CAPTURE(query);
      Seen seen;
      count(fetch(s, kMaps + query), seen);
      check_each_once(seen);
    }
  }
}

TEST_CASE("the pages of a long list have every object once while others write") {
  Server s(nullptr, nullptr, cold());
  fill(s);
  Writer writer(s);
  for (Fetch fetch : kFetches) {
    for (const char* limit : {"500", "700"}) {
      CAPTURE(limit);
      Seen seen;
      std::string token;
      do {
        std::string list = fetch(s, kMaps + "?limit=" + limit + (token.empty() ? "" : "&continue=" + token));
        count(list, seen);
        token = json::Cursor(list)["metadata"]["continue"].str();
      } while (!token.empty());
      check_each_once(seen);
    }
  }
}

}  // namespace limpet::api::test
