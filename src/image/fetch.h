// One GET from a registry, with all that stands between asking and getting: authentication (Bearer tokens,
// Basic), redirects to blob storage, retries while the registry is busy.
//
// Sources: OCI distribution-spec, distribution token.md, RFC 9110. Credentials go to the registry and to the
// token server it names, never to where a redirect leads; nothing goes from https to http.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/client.h"
#include "image/transport.h"
#include "loop/loop.h"

namespace limpet::image {

// A registry elsewhere does not make the device ask its own services, or those of its link, by redirects or
// token servers: permission_denied, with the address. Addresses and the names of localhost; what other names
// resolve to is looked at when they are connected to (Transport::reach), unless a proxy does that.
Result<> may_lead(const http::Origin& registry, const http::Origin& to);

struct FetchRequest {
  std::string what;  // "manifests/latest", "blobs/sha256:..."
  std::string accept;
  uint64_t offset = 0;  // ask for the bytes from here on; the answer is 206, or 200 with all of them
};

struct FetchEvents {
  std::function<void(int status, const http::Headers& headers)> on_head;  // 200 or 206
  std::function<void(std::string_view)> on_data;
  // Errors: not_found, unauthenticated, permission_denied, unavailable, timeout, conflict (the range is no
  // longer there), invalid_argument. Messages are fit for an event of a pod.
  std::function<void(Result<>)> on_end;
};

// Destroying it cancels, also from its own callbacks. on_end comes once and last, never from inside the
// constructor.
class Fetch {
 public:
  Fetch(Transport& transport, SessionPtr session, FetchRequest request, FetchEvents events);
  ~Fetch();
  Fetch(const Fetch&) = delete;
  void pause(bool paused);
  bool answered() const { return answered_; }  // whether an HTTP answer came at all

 private:
  void attempt();
  void head(const http::MessageHead& head);
  void ended(Result<> result);
  void finish(Result<> result);
  void challenged();
  void ask_token(const Challenge& challenge);
  void got_token(const std::string& key, Result<http::Response> answer);
  void redirect();
  bool retry_later();
  Error status_error() const;
  std::string shown_url() const;

  Transport& transport_;
  SessionPtr session_;
  FetchRequest request_;
  FetchEvents events_;
  http::Url url_;
  std::unique_ptr<http::Call> call_;
  loop::Timer timer_;
  int status_ = 0;
  http::Headers headers_;
  std::string error_body_;
  bool delivering_ = false;
  bool answered_ = false;
  bool authorised_ = false;  // this session's answer to a challenge was tried
  int64_t asked_ms_ = 0;
  int redirects_ = 0;
  int retries_ = 0;
};

}  // namespace limpet::image
