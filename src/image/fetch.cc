#include "image/fetch.h"

#include <algorithm>
#include <charconv>

#include "base/json.h"
#include "base/sha256.h"

namespace limpet::image {
namespace {

constexpr int max_redirects = 10;
constexpr int max_retries = 4;
constexpr int64_t first_delay_ms = 500;
constexpr int64_t max_delay_ms = 30'000;
constexpr size_t max_error_body = 16 * 1024;
constexpr size_t max_token_body = 256 * 1024;

std::string scheme_and_host(const http::Origin& origin) {
  return std::string(origin.tls ? "https://" : "http://") + origin.authority();
}

// Digits of Retry-After; its other form, a date, is rare and not worth trusting two clocks.
int64_t retry_after_ms(std::string_view value) {
  int64_t seconds = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (parsed.ec != std::errc() || seconds < 0) return 0;
  return std::min<int64_t>(seconds, max_delay_ms / 1000) * 1000;
}

// No answer came: to the caller the registry could not be asked. A certificate needs somebody to act.
Error transport_error(Error e) {
  if (e.message.find("is not signed by") != std::string::npos)
    e.message += "; put the authority that signed it into the file of registries.caFile in limpetd.yaml";
  if (e.code != Errc::timeout && e.code != Errc::permission_denied) e.code = Errc::unavailable;
  return e;
}

// What the registry says is wrong: {"errors":[{"code":"...","message":"..."}]}.
std::string server_message(std::string_view body) {
  auto value = json::parse(body, {.allow_duplicates = true});
  if (!value) return "";
  const json::Ref first = value->ref()["errors"].at(0);
  std::string out(first["message"].str().substr(0, 200));
  if (out.empty()) out = value->ref()["details"].str().substr(0, 200);
  return out;
}

}  // namespace

Result<> may_lead(const http::Origin& registry, const http::Origin& to) {
  const loop::Place place = loop::place_of(to.host);
  if (place == loop::Place::elsewhere || place == loop::place_of(registry.host)) return {};
  return fail(Errc::permission_denied, strf("the registry leads to %s, an address of %s, which is refused",
                                            to.host.c_str(), loop::place_name(place)));
}

Fetch::Fetch(Transport& transport, SessionPtr session, FetchRequest request, FetchEvents events)
    : transport_(transport),
      session_(std::move(session)),
      request_(std::move(request)),
      events_(std::move(events)),
      timer_(transport.loop(), "image.retry") {
  url_ = {session_->origin, session_->target(request_.what)};
  attempt();
}

Fetch::~Fetch() = default;

void Fetch::pause(bool paused) {
  if (call_) call_->pause(paused);
}

void Fetch::attempt() {
  http::ClientRequest r;
  r.origin = url_.origin;
  r.origin.reach = transport_.reach(*session_, r.origin);
  r.target = url_.target;
  r.first_byte_timeout_ms = transport_.patience_ms(*session_);
  r.headers.add("User-Agent", "limpet/" LIMPET_VERSION);
  if (!request_.accept.empty()) r.headers.add("Accept", request_.accept);
  if (request_.offset > 0) {
    r.headers.add("Range", strf("bytes=%llu-", static_cast<unsigned long long>(request_.offset)));
  }
  if (!session_->authorization.empty() && url_.origin.key() == session_->origin.key()) {
    r.headers.add("Authorization", session_->authorization);
  }
  status_ = 0;
  error_body_.clear();
  asked_ms_ = transport_.clock().monotonic_ms();
  call_ = transport_.client_for(url_.origin)
              .send(std::move(r), {[this](const http::MessageHead& h) { head(h); },
                                   [this](std::string_view bytes) {
                                     transport_.traffic().receive(session_->origin.authority(), bytes.size());
                                     if (delivering_) return events_.on_data(bytes);
                                     error_body_.append(bytes.substr(0, max_error_body - error_body_.size()));
                                   },
                                   [this](Result<> result) { ended(std::move(result)); }});
}

void Fetch::head(const http::MessageHead& h) {
  status_ = h.status;
  headers_ = h.headers;
  answered_ = true;
  transport_.answered(url_.origin);
  if (status_ != 200 && status_ != 206) return;
  delivering_ = true;
  events_.on_head(status_, headers_);
}

void Fetch::finish(Result<> result) {
  timer_.stop();
  const auto on_end = std::move(events_.on_end);  // it may destroy us
  on_end(std::move(result));
}

std::string Fetch::shown_url() const {
  return scheme_and_host(url_.origin) + url_.target.substr(0, url_.target.find('?'));
}

Error Fetch::status_error() const {
  const std::string said = server_message(error_body_);
  const std::string status = strf("%d %s", status_, std::string(http::reason_phrase(status_)).c_str());
  const std::string plain = "unexpected status from GET request to " + shown_url() + ": " + status +
                            (said.empty() ? "" : ": " + said);
  switch (status_) {
    case 404:
      return {Errc::not_found, "not found", 0};
    case 401:
    case 403:
      return {status_ == 401 ? Errc::unauthenticated : Errc::permission_denied,
              "pull access denied, repository does not exist or may require authorization: " +
                  (said.empty() ? status : "server message: " + said),
              0};
    case 416:
      return {Errc::conflict, plain, 0};
    case 408:
    case 429:
      return {Errc::unavailable, plain, 0};
    default:
      return {status_ >= 500 ? Errc::unavailable : Errc::io, plain, 0};
  }
}

bool Fetch::retry_later() {
  if (status_ != 429 && status_ != 408 && status_ < 500) return false;
  if (!session_->primary) return false;  // a busy mirror is not waited for: there is another to ask
  if (retries_ == max_retries) return false;
  const int64_t wait = std::max(first_delay_ms << retries_, retry_after_ms(headers_.get("Retry-After")));
  ++retries_;
  timer_.start(wait, [this] { attempt(); });
  return true;
}

void Fetch::ended(Result<> result) {
  if (!result) {
    // Who answered and broke off is not silent: the rest may be had there.
    if (status_ == 0) transport_.silent(*session_, transport_.clock().monotonic_ms() - asked_ms_);
    Error e = transport_error(std::move(result).error());
    return finish(std::unexpected(std::move(e).with("failed to do request: Get \"" + shown_url() + "\"")));
  }
  if (delivering_) return finish({});
  switch (status_) {
    case 401:
      return challenged();
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return redirect();
    default:
      if (!retry_later()) finish(std::unexpected(status_error()));
  }
}

void Fetch::redirect() {
  const std::string_view location = headers_.get("Location");
  if (++redirects_ > max_redirects) {
    return finish(fail(Errc::io, "stopped after 10 redirects at " + shown_url()));
  }
  http::Url next{url_.origin, std::string(location)};
  if (!location.starts_with('/') || location.starts_with("//")) {
    auto parsed = http::parse_url(location);
    if (!parsed) return finish(fail(Errc::io, shown_url() + " redirects to an address that cannot be read"));
    next = std::move(*parsed);
  }
  if (url_.origin.tls && !next.origin.tls) {
    return finish(
        fail(Errc::permission_denied, shown_url() + " redirects from https to http, which is refused"));
  }
  if (auto may = may_lead(session_->origin, next.origin); !may) return finish(std::move(may));
  url_ = std::move(next);
  attempt();
}

void Fetch::challenged() {
  if (url_.origin.key() != session_->origin.key() || authorised_)
    return finish(std::unexpected(status_error()));
  authorised_ = true;
  const Challenge* basic = nullptr;
  const Challenge* bearer = nullptr;
  std::vector<Challenge> challenges;
  for (const std::string_view value : headers_.all("WWW-Authenticate")) {
    for (Challenge& c : parse_challenges(value)) challenges.push_back(std::move(c));
  }
  for (const Challenge& c : challenges) {
    if (c.scheme == "bearer" && bearer == nullptr) bearer = &c;
    if (c.scheme == "basic" && basic == nullptr) basic = &c;
  }
  if (bearer != nullptr) return ask_token(*bearer);
  if (basic == nullptr || !session_->credential || session_->credential->user.empty()) {
    return finish(std::unexpected(status_error()));
  }
  session_->authorization = basic_authorization(*session_->credential);
  attempt();
}

void Fetch::ask_token(const Challenge& challenge) {
  auto realm = http::parse_url(challenge.get("realm"));
  if (!realm)
    return finish(fail(Errc::unauthenticated, "failed to authorize: the registry names no token server"));
  if (!realm->origin.tls && !session_->insecure) {
    return finish(fail(Errc::unauthenticated, "failed to authorize: the token server " +
                                                  scheme_and_host(realm->origin) +
                                                  " is not reached over https"));
  }
  if (auto may = may_lead(session_->origin, realm->origin); !may) return finish(std::move(may));
  const std::string scope = "repository:" + session_->repository + ":pull";
  const auto& credential = session_->credential;
  std::string key = realm->origin.key() + realm->target + " " + scope;
  if (credential) {
    key +=
        " " + sha256_hex(credential->user + '\0' + credential->password + '\0' + credential->identity_token);
  }
  if (const std::string cached = transport_.cached_token(key);
      !cached.empty() && cached != session_->authorization) {
    session_->authorization = cached;
    return attempt();
  }
  http::ClientRequest r;
  r.origin = realm->origin;
  r.origin.reach = transport_.reach(*session_, r.origin);
  r.target = realm->target;
  r.headers.add("User-Agent", "limpet/" LIMPET_VERSION);
  const std::string service(challenge.get("service"));
  const std::string query =
      "service=" + http::percent_encode(service) + "&scope=" + http::percent_encode(scope);
  if (credential && !credential->identity_token.empty()) {
    r.method = "POST";
    r.headers.add("Content-Type", "application/x-www-form-urlencoded");
    r.body = "grant_type=refresh_token&client_id=limpet&" + query +
             "&refresh_token=" + http::percent_encode(credential->identity_token);
  } else {
    r.target += (r.target.find('?') == std::string::npos ? "?" : "&") + query;
    if (credential) r.headers.add("Authorization", basic_authorization(*credential));
  }
  call_ = transport_.client_for(r.origin).fetch(
      std::move(r), max_token_body,
      [this, key](Result<http::Response> answer) { got_token(key, std::move(answer)); });
}

void Fetch::got_token(const std::string& key, Result<http::Response> answer) {
  if (!answer) {
    Error e = transport_error(std::move(answer).error());
    return finish(std::unexpected(std::move(e).with("failed to authorize: failed to fetch a token")));
  }
  if (answer->status != 200) {
    const Errc code = answer->status >= 500 || answer->status == 429 ? Errc::unavailable
                      : answer->status == 403                        ? Errc::permission_denied
                                                                     : Errc::unauthenticated;
    return finish(
        fail(code, strf("failed to authorize: failed to fetch oauth token: unexpected status: %d %s",
                        answer->status, std::string(http::reason_phrase(answer->status)).c_str())));
  }
  auto value = json::parse(answer->body, {.allow_duplicates = true});
  std::string_view token;
  if (value) token = value->ref()["token"].str(value->ref()["access_token"].str());
  const bool printable = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (token.empty() || !printable) {
    return finish(fail(Errc::unauthenticated, "failed to authorize: the token server sent no token"));
  }
  session_->authorization = "Bearer " + std::string(token);
  const int64_t lifetime = std::clamp<int64_t>(value->ref()["expires_in"].integer(60), 30, 3600);
  transport_.keep_token(key, session_->authorization, (lifetime - 10) * 1000);
  attempt();
}

}  // namespace limpet::image
