// Deletes tokens that have expired, after upstream's tokencleaner. Whoever joins with a token checks it
// anyway; this keeps the store clean.
#include <algorithm>

#include "controllers/shell.h"
#include "controllers/tokencleaner/token.h"

namespace limpet::controllers::tokencleaner {
namespace {

constexpr const char* kName = "token-cleaner";
// The clock may be set meanwhile: no token is left for longer without a look at it.
constexpr int64_t kLongestWaitMs = 3'600'000;

std::string path_of(const Object& token) {
  return "/api/v1/namespaces/" + token.ns + "/secrets/" + token.name;
}

struct TokenCleaner final : Shell {
  TokenCleaner(const Context& c, Caches& all)
      : Shell(c, all, kName,
              [this](const std::string& key, Driver::Done done) { sync(key, std::move(done)); }) {
    caches.tokens.listen([this](const TokenView*, const TokenView* now) {
      if (now) driver.add(now->key());
    });
  }

  void sync(const std::string& key, Driver::Done done) {
    const TokenView* token = caches.tokens.get(key);
    const std::optional<int64_t> left = token ? time_left_ms(*token, context.timing.wall()) : std::nullopt;
    if (!left) return done({});
    if (*left > 0) {
      driver.add_after(key, std::min(*left, kLongestWaitMs));
      return done({});
    }
    // Gone, or another of its name: nothing to do any more.
    calls.remove(path_of(*token), token->uid, [done = std::move(done)](Result<client::Reply> reply) {
      const bool settled =
          reply || reply.error().code == Errc::not_found || reply.error().code == Errc::conflict;
      done(settled ? Result<>() : std::unexpected(reply.error()));
    });
  }
};

}  // namespace

std::unique_ptr<Controller> make_controller(const Context& context, Caches& caches) {
  return std::make_unique<TokenCleaner>(context, caches);
}

}  // namespace limpet::controllers::tokencleaner
