#include "schema/members.h"

#include <cjson/cJSON.h>

#include <cstdlib>
#include <cstring>

namespace limpet::schema {

namespace {
constexpr size_t kSmall = 48;
}

Members::Members(json::Ref object, size_t more) : object_(object) {
  size_t count = more;
  for (json::Ref member : object) {
    (void)member;
    if (++count > kSmall) break;
  }
  indexed_ = count > kSmall;
  if (!indexed_) return;
  for (json::Ref member : object) index_.emplace(member.key(), member.get());
}

json::Ref Members::find(std::string_view key) const {
  if (!indexed_) return object_[key];
  const auto it = index_.find(std::string(key));
  return it == index_.end() ? json::Ref() : json::Ref(it->second);
}

json::Ref Members::set(std::string_view key, json::Value value) {
  if (!indexed_) {
    const json::Ref added = object_.set(key, std::move(value));
    return added;
  }
  const std::string name(key);
  cJSON* item = value.release();
  const auto [it, fresh] = index_.try_emplace(name, item);
  if (fresh) {
    cJSON_AddItemToObject(object_.get(), name.c_str(), item);
  } else {
    cJSON* old = it->second;
    it->second = item;
    if (item->string != nullptr) cJSON_free(item->string);
    item->string = static_cast<char*>(cJSON_malloc(name.size() + 1));
    memcpy(item->string, name.c_str(), name.size() + 1);
    cJSON_ReplaceItemViaPointer(object_.get(), old, item);
  }
  return json::Ref(item);
}

void Members::remove(std::string_view key) {
  if (!indexed_) {
    object_.remove(key);
    return;
  }
  const auto it = index_.find(std::string(key));
  if (it == index_.end()) return;
  cJSON_Delete(cJSON_DetachItemViaPointer(object_.get(), it->second));
  index_.erase(it);
}

}  // namespace limpet::schema
