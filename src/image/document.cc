#include "image/document.h"

#include "base/assert.h"
#include "base/sha256.h"
#include "image/reference.h"

namespace limpet::image {

DocumentFetch::DocumentFetch(Transport& transport, std::vector<SessionPtr> sessions, std::string what,
                             std::string accept, std::string digest, size_t max_bytes, Done done)
    : transport_(transport),
      sessions_(std::move(sessions)),
      what_(std::move(what)),
      accept_(std::move(accept)),
      digest_(std::move(digest)),
      max_bytes_(max_bytes),
      done_(std::move(done)) {
  LIMPET_ASSERT(!sessions_.empty());
  while (session_ + 1 < sessions_.size() && transport_.rests(*sessions_[session_])) ++session_;
  ask();
}

void DocumentFetch::ask() {
  document_ = {};
  fetch_ = std::make_unique<Fetch>(
      transport_, sessions_[session_], FetchRequest{what_, accept_, 0},
      FetchEvents{[this](int, const http::Headers& h) { document_.content_type = h.get("Content-Type"); },
                  [this](std::string_view bytes) { received(bytes); },
                  [this](Result<> result) { ended(std::move(result)); }});
}

void DocumentFetch::received(std::string_view bytes) {
  if (document_.bytes.size() + bytes.size() <= max_bytes_) {
    document_.bytes.append(bytes);
    return;
  }
  fetch_.reset();
  finish(fail(Errc::too_large, strf("manifest too large (limit %zu MiB)", max_bytes_ >> 20)));
}

void DocumentFetch::ended(Result<> result) {
  if (!result) return failed(std::move(result).error(), fetch_->answered());
  document_.digest = "sha256:" + sha256_hex(document_.bytes);
  if (!digest_.empty() && document_.digest != digest_) {
    return failed({Errc::corrupt, "the registry's answer for " + digest_ + " does not match that digest", 0},
                  true);
  }
  document_.sessions.assign(sessions_.begin() + static_cast<std::ptrdiff_t>(session_), sessions_.end());
  finish(std::move(document_));
}

// Mirrors are asked in the registry's stead, but only its own word counts as an answer. A registry that
// answered over one scheme is not asked over the other, one that refused one user may accept the next.
void DocumentFetch::failed(Error error, bool answered) {
  const Session& tried = *sessions_[session_];
  const bool refused = error.code == Errc::unauthenticated || error.code == Errc::permission_denied;
  const bool definite = tried.primary && answered;
  if (!have_error_ || definite || !error_final_) {
    error_ = std::move(error);
    have_error_ = true;
  }
  error_final_ = error_final_ || definite;
  for (++session_; session_ < sessions_.size(); ++session_) {
    const Session& next = *sessions_[session_];
    if (transport_.rests(next)) continue;
    const bool same_place = next.origin.host == tried.origin.host && next.primary == tried.primary;
    const bool other_user =
        refused && next.credential != tried.credential && next.origin.tls == tried.origin.tls;
    if (!same_place || !answered || other_user) return ask();
  }
  finish(std::unexpected(std::move(error_)));
}

void DocumentFetch::finish(Result<Document> result) {
  fetch_.reset();
  const Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace limpet::image
