#include "api/node_graph.h"

#include "base/assert.h"

namespace limpet::api {
namespace {

std::string object_id(Mention what, std::string_view ns, std::string_view name) {
  std::string id(1, static_cast<char>('0' + static_cast<int>(what)));
  return id.append(ns).append("/").append(name);
}

}  // namespace

void NodeGraph::change(std::string_view before, std::string_view now) {
  // The new state first: what both mention is never gone in between, and its entry stays where it is.
  if (!now.empty()) count(now, +1);
  if (!before.empty()) count(before, -1);
}

void NodeGraph::count(std::string_view bytes, int by) {
  json::Cursor pod(bytes);
  const std::string node = pod["spec"]["nodeName"].str();
  if (node.empty()) return;
  const std::string ns = pod["metadata"]["namespace"].str();
  const auto at = nodes_.try_emplace(node).first;
  auto one = [&](Mention what, const std::string& name) {
    const auto object = at->second.try_emplace(object_id(what, ns, name)).first;
    LIMPET_ASSERT(by > 0 || object->second > 0);
    object->second += static_cast<uint32_t>(by);
    if (object->second == 0) at->second.erase(object);
  };
  one(Mention::pod, pod["metadata"]["name"].str());
  each_mention(pod, one);
  if (at->second.empty()) nodes_.erase(at);
}

bool NodeGraph::related(std::string_view node, Mention what, std::string_view ns,
                        std::string_view name) const {
  const auto at = nodes_.find(node);
  return at != nodes_.end() && at->second.contains(object_id(what, ns, name));
}

}  // namespace limpet::api
