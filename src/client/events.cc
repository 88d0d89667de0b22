#include "client/events.h"

#include <algorithm>

#include <cstring>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"

namespace limpet::client {

namespace {

constexpr size_t kMaxQueue = 256, kMaxKnown = 512;
constexpr int64_t kRepeatMs = 600'000;
constexpr int64_t kFirstRetryMs = 2000, kLongestRetryMs = 60'000;
constexpr size_t kMaxName = 253;
constexpr size_t kMaxMessage = 1024;  // of an event, as upstream

// What makes two events the same, in few bytes: hundreds of them are remembered.
using Key = uint64_t;
Key key_of(const ObjectRef& about, const char* type, const std::string& reason, const std::string& message) {
  const Sha256Digest digest =
      sha256(about.uid + "|" + about.field_path + "|" + type + "|" + reason + "|" + message);
  Key key;
  memcpy(&key, digest.data(), sizeof key);
  return key;
}

// The object's name and a number, within what a name may be.
std::string event_name(std::string about, uint64_t id) {
  const std::string number = hex64(id);
  if (about.size() + 1 + number.size() > kMaxName) about.resize(kMaxName - 1 - number.size());
  while (!about.empty() && (about.back() == '-' || about.back() == '.')) about.pop_back();
  return about.empty() ? number : about + "." + number;
}

}  // namespace

struct EventRecorder::Impl {
  struct Known {  // an event in the API whose count can be raised
    uint64_t id = 0;
    int64_t count = 1, last_ms = 0;
  };
  struct Queued {
    Key key = 0;
    std::string ns, name;
    int64_t count = 1;
    std::string body;  // of a POST; empty: raise the count
    std::string last_timestamp;
  };

  loop::Loop& loop;
  Clock& clock;
  Random& random;
  Client& client;
  std::string component, host;
  std::map<Key, Known> known;
  std::deque<Queued> queue;
  std::unique_ptr<Pending> call;
  loop::Timer retry;
  int64_t retry_ms = kFirstRetryMs;
  uint64_t dropped = 0;

  Impl(loop::Loop& l, Clock& c, Random& r, Client& cl, std::string comp, std::string h)
      : loop(l),
        clock(c),
        random(r),
        client(cl),
        component(std::move(comp)),
        host(std::move(h)),
        retry(l, "events") {}

  void send();
  void sent(const Queued& event, Result<Reply> reply);
  std::string body(const ObjectRef& about, const char* type, const std::string& reason,
                   const std::string& message, const std::string& name, const std::string& now);
  void forget_old(int64_t now_ms);
};

EventRecorder::EventRecorder(loop::Loop& loop, Clock& clock, Random& random, Client& client,
                             std::string component, std::string host)
    : impl_(std::make_unique<Impl>(loop, clock, random, client, std::move(component), std::move(host))) {}
EventRecorder::~EventRecorder() = default;

std::string EventRecorder::Impl::body(const ObjectRef& about, const char* type, const std::string& reason,
                                      const std::string& message, const std::string& name,
                                      const std::string& now) {
  json::Writer w;
  const std::string ns = about.ns.empty() ? "default" : about.ns;
  w.begin_object().field("apiVersion", "v1").field("kind", "Event").key("metadata").begin_object();
  w.field("name", name).field("namespace", ns).end_object();
  w.key("involvedObject")
      .begin_object()
      .field("kind", about.kind)
      .field("apiVersion", about.api_version)
      .field("name", about.name);
  if (!about.ns.empty()) w.field("namespace", about.ns);
  w.field("uid", about.uid);
  if (!about.field_path.empty()) w.field("fieldPath", about.field_path);
  w.end_object().field("reason", reason).field("message", message).field("type", type);
  w.key("source").begin_object().field("component", component).field("host", host).end_object();
  w.field("firstTimestamp", now).field("lastTimestamp", now).field("count", 1);
  w.field("reportingComponent", component).field("reportingInstance", host).end_object();
  return w.take();
}

void EventRecorder::Impl::forget_old(int64_t now_ms) {
  if (known.size() < kMaxKnown) return;
  std::erase_if(known, [&](const auto& e) { return now_ms - e.second.last_ms > kRepeatMs; });
  while (known.size() >= kMaxKnown) {
    known.erase(std::min_element(known.begin(), known.end(), [](const auto& a, const auto& b) {
      return a.second.last_ms < b.second.last_ms;
    }));
  }
}

void EventRecorder::record(const ObjectRef& about, const char* type, const std::string& reason,
                           const std::string& text) {
  Impl& m = *impl_;
  const std::string message = text.size() > kMaxMessage ? text.substr(0, kMaxMessage - 3) + "..." : text;
  const int64_t now_ms = m.clock.monotonic_ms();
  const std::string now = rfc3339(m.clock.wall());
  const Key key = key_of(about, type, reason, message);
  const std::string ns = about.ns.empty() ? "default" : about.ns;
  const auto it = m.known.find(key);
  if (it != m.known.end() && now_ms - it->second.last_ms < kRepeatMs) {
    it->second.count++;
    it->second.last_ms = now_ms;
    const auto waiting = std::find_if(m.queue.begin(), m.queue.end(),
                                      [&](const auto& q) { return q.key == key && q.body.empty(); });
    if (waiting != m.queue.end()) {
      waiting->count = it->second.count;
      waiting->last_timestamp = now;
    } else {
      m.queue.push_back({key, ns, event_name(about.name, it->second.id), it->second.count, "", now});
    }
  } else {
    m.forget_old(now_ms);
    const uint64_t id = m.random.u64();
    const std::string name = event_name(about.name, id);
    m.known[key] = {id, 1, now_ms};
    m.queue.push_back({key, ns, name, 1, m.body(about, type, reason, message, name, now), now});
  }
  if (m.queue.size() > kMaxQueue) {
    m.known.erase(m.queue.front().key);
    m.queue.pop_front();
    m.dropped++;
  }
  m.send();
}

void EventRecorder::Impl::send() {
  if (call || queue.empty() || retry.active()) return;
  const Queued& q = queue.front();
  Call c;
  c.path = "/api/v1/namespaces/" + q.ns + "/events";
  if (q.body.empty()) {
    c.method = "PATCH";
    c.path += "/" + q.name;
    c.content_type = "application/merge-patch+json";
    json::Writer w;
    w.begin_object().field("count", q.count).field("lastTimestamp", q.last_timestamp).end_object();
    c.body = w.take();
  } else {
    c.method = "POST";
    c.body = q.body;
  }
  const Queued sending = q;
  queue.pop_front();
  call = client.call(std::move(c), [this, sending](Result<Reply> reply) { sent(sending, std::move(reply)); });
}

void EventRecorder::Impl::sent(const Queued& event, Result<Reply> reply) {
  const std::unique_ptr<Pending> finished = std::move(call);
  if (!reply || reply->status >= 500) {
    // Kept for later, unless newer ones need the room. One that the server itself stumbles over does not hold
    // up the others for ever.
    const bool hopeless = reply && retry_ms == kLongestRetryMs;
    if (!hopeless && queue.size() < kMaxQueue) queue.push_front(event);
    retry.start(retry_ms, [this] { send(); });
    retry_ms = std::min(retry_ms * 2, kLongestRetryMs);
    return;
  }
  retry_ms = kFirstRetryMs;
  // The event expired or its namespace goes: the next repeat makes a new one.
  if (!reply->ok()) known.erase(event.key);
  send();
}

}  // namespace limpet::client
