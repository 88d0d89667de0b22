#include "node/object_watch.h"

#include "base/json.h"
#include "http/message.h"

namespace limpet::node {

void ObjectWatches::retain(const std::set<std::string>& keys) {
  std::erase_if(watches_, [&](const auto& e) { return !keys.contains(e.first); });
  for (const std::string& key : keys) {
    if (!watches_.contains(key)) watches_[key] = watch(key);
  }
}

std::unique_ptr<client::Informer> ObjectWatches::watch(const std::string& key) {
  const size_t first = key.find('/'), last = key.rfind('/');
  client::Informer::Options options{
      "/api/v1/namespaces/" + key.substr(0, last),
      "fieldSelector=" + http::percent_encode("metadata.name=" + key.substr(last + 1))};
  client::Informer::Handlers h;
  h.on_add = [this, key](const std::string&, const SharedBytes& o) { seen(key, o); };
  h.on_update = [this, key](const std::string&, const SharedBytes&, const SharedBytes& o) { seen(key, o); };
  // One that is deleted stays in the volumes that hold it, as in the kubelet: nothing to do.
  if (first == last) return nullptr;  // no key of ours
  auto informer =
      std::make_unique<client::Informer>(loop_, client_, random_, std::move(options), std::move(h));
  informer->start();
  return informer;
}

void ObjectWatches::seen(const std::string& key, const SharedBytes& object) {
  const SharedBytes known = db_.object(key);
  const auto version = [](const SharedBytes& o) {
    return json::Cursor(*o)["metadata"]["resourceVersion"].str();
  };
  if (known && version(known) == version(object)) return;
  db_.put_object(key, object);
  changed_(key);
}

}  // namespace limpet::node
