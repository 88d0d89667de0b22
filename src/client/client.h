// The API as its users inside limpet see it: one interface, in process on a server, HTTPS from an agent.
//
// A call is an HTTP request in Kubernetes' API conventions with JSON bodies; a reply is status and JSON
// bytes. A watch delivers the events of a list-and-watch with reconnects done for the caller (see informer.h
// for the cache on top).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "http/message.h"

namespace limpet::client {

struct Call {
  std::string method = "GET";
  std::string path;   // "/api/v1/namespaces/default/pods/web/status"
  std::string query;  // encoded, without '?'
  std::string content_type = "application/json";
  std::string body;
};

struct Reply {
  int status = 0;
  std::string body;  // JSON; a Status object when status >= 400
  bool ok() const { return status >= 200 && status < 300; }
  // The reply as an error: code from the HTTP status, message from the Status object.
  Error error() const;
};

// A running call or watch; destroying it cancels (the callback is not made any more).
class Pending {
 public:
  virtual ~Pending() = default;
};

class Client {
 public:
  virtual ~Client() = default;
  // `done` comes exactly once unless the Pending is destroyed first; never before the call returns. A Result
  // error means that no answer came (link down); an API error is a Reply.
  [[nodiscard]] virtual std::unique_ptr<Pending> call(Call call, std::function<void(Result<Reply>)> done) = 0;

  struct Stream {
    std::function<void(std::string_view json)> on_event;  // one watch event, a whole JSON object
    std::function<void(Result<>)> on_end;                 // last call: clean end, or why
  };
  // One watch request, not re-established.
  [[nodiscard]] virtual std::unique_ptr<Pending> stream(Call call, Stream stream) = 0;
  // How many objects of a list to ask for at once: what the answers may take in memory decides.
  virtual int list_page() const { return 500; }
};

}  // namespace limpet::client
