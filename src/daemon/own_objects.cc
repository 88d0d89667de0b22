#include "daemon/own_objects.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "api/bootstrap.h"
#include "base/json.h"
#include "cluster/token.h"

namespace limpet::daemon {
namespace {

constexpr std::string_view built_in[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
constexpr size_t kinds_named = 3;

bool is_built_in_namespace(std::string_view key) {
  constexpr std::string_view namespaces = "namespaces/";
  return key.starts_with(namespaces) && std::find(std::begin(built_in), std::end(built_in),
                                                  key.substr(namespaces.size())) != std::end(built_in);
}

struct Walk : std::enable_shared_from_this<Walk> {
  store::Space& space;
  std::weak_ptr<char> alive;
  std::function<void(Result<ObjectCounts>)> done;
  ObjectCounts counts;

  Walk(store::Space& s, std::weak_ptr<char> a, std::function<void(Result<ObjectCounts>)> d)
      : space(s), alive(std::move(a)), done(std::move(d)) {}

  void from(const std::string& after) {
    space.list("", after, 0, 0, [self = shared_from_this()](Result<store::Page> page) {
      if (self->alive.expired()) return;
      if (!page) return self->done(std::unexpected(page.error()));
      self->take(*page);
      if (!page->more) return self->done(std::move(self->counts));
      self->from(page->items.back().key);
    });
  }

  void take(const store::Page& page) {
    for (const store::Item& item : page.items) {
      if (is_given_up(item.key, *item.value)) counts[item.key.substr(0, item.key.find('/'))]++;
    }
  }
};

}  // namespace

bool is_given_up(std::string_view key, std::string_view value) {
  std::string ns;
  if (key.starts_with("limpet/") || key.starts_with("nodes/") || is_built_in_namespace(key) ||
      api::is_companion(key, &ns))
    return false;
  const std::string tokens = "secrets/" + std::string(cluster::token_namespace) + "/";
  if (key.starts_with(tokens) && key.substr(tokens.size()).starts_with(cluster::token_secret_name("")))
    return false;
  return !key.starts_with("pods/") ||
         !json::Cursor(value)["metadata"]["annotations"]["kubernetes.io/config.mirror"];
}

void count_own_objects(store::Space& durable, std::weak_ptr<char> alive,
                       std::function<void(Result<ObjectCounts>)> done) {
  std::make_shared<Walk>(durable, std::move(alive), std::move(done))->from("");
}

std::string in_words(const ObjectCounts& counts) {
  std::vector<std::pair<std::string, int64_t>> most(counts.begin(), counts.end());
  std::stable_sort(most.begin(), most.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string out;
  int64_t others = 0;
  for (size_t i = 0; i < most.size(); i++) {
    if (i >= kinds_named) {
      others += most[i].second;
      continue;
    }
    out +=
        strf("%s%lld %s", i == 0 ? "" : ", ", static_cast<long long>(most[i].second), most[i].first.c_str());
  }
  return others == 0 ? out : out + strf(" and %lld others", static_cast<long long>(others));
}

}  // namespace limpet::daemon
