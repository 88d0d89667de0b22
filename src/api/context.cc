#include "api/context.h"

#include <algorithm>
#include <utility>

#include "api/lease_space.h"

namespace limpet::api {
namespace {

constexpr size_t kMaxWarnings = 32;
constexpr size_t kMaxWarningBytes = 256;

// RFC 7230 quoted-string; control characters cannot be in a header.
std::string quoted(std::string_view text) {
  std::string out = "299 - \"";
  for (char c : text.substr(0, kMaxWarningBytes)) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out + "\"";
}

std::string_view counted_verb(const Call& call) {
  static constexpr std::string_view kVerbs[] = {"get",    "list",  "watch",  "create",
                                                "update", "patch", "delete", "deletecollection"};
  for (std::string_view v : kVerbs) {
    if (call.info.verb == v) return v;
  }
  return "other";
}

// What says something of the state, unlike a request that is wrong in itself and a server that cannot.
bool rests_on_state(int code) {
  return code < 400 || code == 401 || code == 403 || code == 404 || code == 409 || code == 410 || code == 422;
}

}  // namespace

Core::Core(loop::Loop& l, Clock& c, Random& r, store::Store& s, Options o)
    : loop(l),
      clock(c),
      random(r),
      store(s),
      options(std::move(o)),
      leases(std::make_shared<LeaseSpace>(l, c, r, s)) {}

store::Space& Core::space(const schema::Resource& r) {
  if (r.storage() != schema::Storage::transient) return store.durable();
  return LeaseSpace::holds(r) ? *leases : store.transient();
}

void Core::commit(store::Space& to, uint64_t term, store::Txn txn,
                  std::function<void(Result<store::Committed>)> done) {
  if (!leads_in(term)) {
    return done(fail(Errc::unavailable, "this server does not lead in the term in which this was decided"));
  }
  txn.term = term;
  to.commit(std::move(txn), std::move(done));
}

void Core::finish(Session* s) {
  auto it = sessions.find(s);
  if (it == sessions.end()) return;
  std::shared_ptr<Session> kept = std::move(it->second);
  sessions.erase(it);
  loop.defer([kept] {});
}

Call::Call(Core& c, http::ExchangePtr exchange)
    : core(c), owner_(c.shared_from_this()), exchange_(std::move(exchange)) {
  started_ms = core.clock.monotonic_ms();
}

Call::~Call() {
  if (timed) core.timed.erase(*timed);
  if (counted_in_flight) --core.metrics.in_flight;
  if (long_running) --core.metrics.watches;
  if (!code_) return;
  std::string_view what = resource ? resource->plural() : std::string_view("");
  if (!long_running) {
    core.metrics.count_request(counted_verb(*this), what, code_, core.clock.monotonic_ms() - started_ms);
  }
  if (core.options.audit) core.options.audit(user, info.verb, info.path, code_);
}

void Call::warn(std::string_view text) {
  std::string w = quoted(text);
  if (warnings_.size() >= kMaxWarnings || std::find(warnings_.begin(), warnings_.end(), w) != warnings_.end())
    return;
  warnings_.push_back(std::move(w));
}

http::Headers Call::headers(std::string_view content_type) const {
  http::Headers h = extra_;
  h.add("Content-Type", std::string(content_type));
  h.add("Cache-Control", "no-cache, private");
  for (const std::string& w : warnings_) h.add("Warning", w);
  return h;
}

// A leader that was replaced and does not know it sees a state of before. Its commits fail, but an answer
// without one (not found, already so, a dry run) would be as old as what it knows.
void Call::confirm(std::function<void(Call&)> go_on) {
  unconfirmed = false;
  if (core.single()) return go_on(*this);
  core.cluster->barrier([self = shared_from_this(), go_on = std::move(go_on)](Result<> confirmed) {
    if (confirmed && self->core.leads_in(self->term)) return go_on(*self);
    self->fail(status::unavailable("this server may have ceased to be the leader; nothing was done", 1));
  });
}

void Call::respond(int code, std::string body, std::string_view content_type) {
  if (answered_ || gone_) return;
  if (unconfirmed && rests_on_state(code)) {
    return confirm([code, body = std::move(body), type = std::string(content_type)](Call& call) mutable {
      call.respond(code, std::move(body), type);
    });
  }
  answered_ = true;
  code_ = code;
  exchange_->respond({code, headers(content_type), std::move(body)});
}

void Call::fail(const Status& s) {
  if (answered_ || gone_) return;
  if (unconfirmed && rests_on_state(s.code)) return confirm([s](Call& call) { call.fail(s); });
  answered_ = true;
  code_ = s.code;
  http::Headers h = headers("application/json");
  if (s.code == 401) h.add("WWW-Authenticate", "Bearer realm=\"kubernetes\"");
  // A retry is only invited where the request was certainly not done (504 is not such a case).
  if (s.retry_after_s && (s.code == 429 || s.code == 503))
    h.add("Retry-After", std::to_string(s.retry_after_s));
  exchange_->respond({s.code, std::move(h), s.json()});
}

bool Call::begin(int code, std::string_view content_type) { return relay(code, headers(content_type)); }

bool Call::relay(int code, http::Headers h) {
  if (answered_ || gone_) return false;
  answered_ = true;
  code_ = code;
  listen();
  exchange_->begin(code, std::move(h));
  return true;
}

void Call::listen() {
  if (std::exchange(listening_, true)) return;
  std::weak_ptr<Call> weak = weak_from_this();
  exchange_->on_gone([weak] {
    CallPtr self = weak.lock();
    if (!self) return;
    self->gone_ = true;
    if (auto f = std::move(self->on_gone_)) f();
  });
}

void Call::time_out() {
  if (answered_ || gone_) return;
  unconfirmed = false;
  fail(status::timeout("request did not complete within the allotted timeout"));
  if (auto f = std::move(on_gone_)) f();
}

void Call::mark_answered(int code) {
  answered_ = true;
  code_ = code;
}

}  // namespace limpet::api
