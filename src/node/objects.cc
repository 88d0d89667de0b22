#include "node/objects.h"

#include "base/json.h"
#include "node/node_db.h"

namespace limpet::node {

namespace {

// Fetches one after the other: the lists are short, and in process a call costs microseconds.
class Fetch final : public Operation {
 public:
  Fetch(client::Client& client, NodeDb& db, std::string ns, std::vector<std::string> names,
        std::function<void(Result<ObjectMap>)> done)
      : client_(client), db_(db), ns_(std::move(ns)), names_(std::move(names)), done_(std::move(done)) {}

  void next() {
    if (names_.empty()) return done_(std::move(found_));
    client::Call call;
    call.path = "/api/v1/namespaces/" + ns_ + "/" + names_.back();
    call_ =
        client_.call(std::move(call), [this](Result<client::Reply> reply) { answered(std::move(reply)); });
  }

 private:
  void answered(Result<client::Reply> reply) {
    const std::unique_ptr<client::Pending> finished = std::move(call_);
    const std::string name = names_.back();
    const std::string key = ns_ + "/" + name;
    names_.pop_back();
    if (reply && reply->ok()) {
      const SharedBytes bytes = share(std::move(reply->body));
      db_.put_object(key, bytes);
      found_[name] = bytes;
      return next();
    }
    if (reply && reply->status == 404) return next();
    // No answer, or the server is not itself: what the device noted earlier stands.
    if (const SharedBytes known = db_.object(key)) {
      found_[name] = known;
      return next();
    }
    done_(std::unexpected((reply ? reply->error() : reply.error()).with("fetch " + name)));
  }

  client::Client& client_;
  NodeDb& db_;
  std::string ns_;
  std::vector<std::string> names_;
  std::function<void(Result<ObjectMap>)> done_;
  ObjectMap found_;
  std::unique_ptr<client::Pending> call_;
};

}  // namespace

std::unique_ptr<Operation> Objects::fetch(const std::string& ns, std::vector<std::string> names,
                                          std::function<void(Result<ObjectMap>)> done) {
  auto fetch = std::make_unique<Fetch>(client_, db_, ns, std::move(names), std::move(done));
  fetch->next();
  return fetch;
}

}  // namespace limpet::node
