#include "node/account_tokens.h"

#include <algorithm>

namespace limpet::node {

namespace {

constexpr int64_t kRetryMs = 60'000, kLongestUseMs = 24 * 3600 * 1000ll;

std::string request_body(const TokenWish& wish, const std::string& pod, const std::string& uid) {
  json::Writer w;
  w.begin_object().field("apiVersion", "authentication.k8s.io/v1").field("kind", "TokenRequest");
  w.key("spec").begin_object().field("expirationSeconds", wish.expiration_s);
  w.key("audiences").begin_array();
  if (!wish.audience.empty()) w.string(wish.audience);
  w.end_array();
  w.key("boundObjectRef").begin_object().field("apiVersion", "v1").field("kind", "Pod");
  w.field("name", pod).field("uid", uid).end_object();
  w.end_object().end_object();
  return w.take();
}

}  // namespace

void AccountTokens::update(const PodSpec& pod, std::function<void(Result<>)> done) {
  const json::Cursor object(*pod.bytes);
  ns_ = pod.ns;
  pod_ = pod.name;
  uid_ = pod.uid;
  account_ = object["spec"]["serviceAccountName"].str("default");
  wishes_ = wished_tokens(object);
  done_ = std::move(done);
  next();
}

void AccountTokens::next() {
  const int64_t now_ms = clock_.monotonic_ms();
  const auto held = [&](const TokenWish& wish) {
    const auto it = tokens_.find(wish.name());
    return it != tokens_.end() && now_ms < it->second.due_ms;
  };
  while (!wishes_.empty() && held(wishes_.back())) wishes_.pop_back();
  if (wishes_.empty()) {
    const auto done = std::exchange(done_, nullptr);
    return done({});  // may destroy this
  }
  client::Call call{"POST", "/api/v1/namespaces/" + ns_ + "/serviceaccounts/" + account_ + "/token", "",
                    "application/json", request_body(wishes_.back(), pod_, uid_)};
  call_ = client_.call(std::move(call), [this](Result<client::Reply> reply) { answered(std::move(reply)); });
}

void AccountTokens::answered(Result<client::Reply> reply) {
  const std::unique_ptr<client::Pending> finished = std::move(call_);
  const TokenWish wish = wishes_.back();
  Token& token = tokens_[wish.name()];
  const int64_t now_ms = clock_.monotonic_ms();
  const json::Cursor answer(reply && reply->ok() ? std::string_view(reply->body) : std::string_view("{}"));
  const std::string text = answer["status"]["token"].str();
  if (!text.empty()) {
    // How long it lives, not when it ends: the clock of a device may be set while it does.
    const int64_t life_ms = answer["spec"]["expirationSeconds"].integer(wish.expiration_s) * 1000;
    token = {share(text), now_ms + std::min(life_ms / 5 * 4, kLongestUseMs), now_ms + life_ms};
  } else if (token.text && now_ms < token.expires_ms) {
    token.due_ms = now_ms + kRetryMs;
  } else {
    tokens_.erase(wish.name());
    const Error why = !reply         ? reply.error()
                      : !reply->ok() ? reply->error()
                                     : Error{Errc::corrupt, "the API answered without a token", 0};
    const auto done = std::exchange(done_, nullptr);
    return done(std::unexpected(Error(why).with("MountVolume.SetUp failed for volume \"" + wish.volume +
                                                "\" : failed to fetch token")));
  }
  next();
}

void AccountTokens::add_to(ObjectMap* objects) const {
  for (const auto& [name, token] : tokens_) (*objects)["tokens/" + name] = token.text;
}

int64_t AccountTokens::next_ms() const {
  int64_t at = -1;
  for (const auto& [name, token] : tokens_) at = at < 0 ? token.due_ms : std::min(at, token.due_ms);
  return at;
}

bool AccountTokens::due(int64_t now_ms) const { return next_ms() >= 0 && now_ms >= next_ms(); }

}  // namespace limpet::node
