// The API in memory, for controllers on virtual time: collections of objects with versions, merge patches
// with preconditions, deletion with grace, watches that may lag. What controllers write is decoded, defaulted
// and validated like the real thing does. Nothing happens before World turns.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/random.h"
#include "client/client.h"

namespace limpet::controllers {

class FakeApi final : public client::Client {
 public:
  FakeApi(ManualClock& clock, Random& random) : clock_(clock), random_(random) {}

  // ---- as a user of the API would, at once. `path` as in URLs: "pods/d/web", "deployments/d/web", and
  // "nodes//edge" for what has no namespace.
  std::string put(const std::string& path, const std::string& text);  // create or replace; the stored object
  void change(const std::string& path, const std::function<void(json::Ref)>& f);
  void remove(const std::string& path, const std::string& propagation = "Background");
  json::Value get(const std::string& path) const;  // null when absent
  std::vector<std::string> names(const std::string& resource) const;
  bool has(const std::string& path) const { return objects_.contains(path); }

  // ---- trouble
  bool lag = false;                                // watches say nothing as long as this is set
  std::function<int(const client::Call&)> refuse;  // a status instead of the answer, 0 for none
  std::vector<std::string> log;  // writes in order: "POST pods", "PATCH replicasets/d/web-x"

  // One thing that is under way (an answer, a watch event) happens; false when nothing is.
  bool turn();

  std::unique_ptr<client::Pending> call(client::Call call,
                                        std::function<void(Result<client::Reply>)> done) override;
  std::unique_ptr<client::Pending> stream(client::Call call, Stream stream) override;

 private:
  struct Watch {
    std::string resource, query;
    std::shared_ptr<bool> alive;
    Stream stream;
    std::deque<std::string> events;
  };
  struct Address {
    std::string resource, ns, name, sub;
    std::string key() const { return resource + "/" + ns + "/" + name; }
  };
  static Address parse(const std::string& path);
  client::Reply answer(const client::Call& call);
  client::Reply list(const Address& a, const std::string& query) const;
  client::Reply create(const Address& a, const client::Call& call);
  client::Reply patch(const Address& a, const client::Call& call);
  client::Reply erase(const Address& a, const client::Call& call);
  // checked: by the rules for updates.
  client::Reply store(const std::string& key, json::Ref object, bool checked);
  void drop(const std::string& key);
  void tell(const std::string& key, const char* type, const std::string& object);

  ManualClock& clock_;
  Random& random_;
  std::map<std::string, std::string> objects_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::deque<std::function<void()>> answers_;
  int64_t version_ = 1;
};

}  // namespace limpet::controllers
