#include "api/garbage.h"

#include <algorithm>

#include "api/removal.h"

namespace limpet::api {

std::vector<OwnerRef> read_owners(std::string_view stored) {
  std::vector<OwnerRef> out;
  if (stored.find("\"ownerReferences\"") == std::string_view::npos) return out;  // nearly always
  json::Cursor(stored)["metadata"]["ownerReferences"].each([&out](std::string_view, json::Cursor r) {
    out.push_back({r["apiVersion"].str(), r["kind"].str(), r["name"].str(), r["uid"].str(),
                   r["blockOwnerDeletion"].boolean()});
    return true;
  });
  return out;
}

// As upstream's collector sorts them: solid owners keep an object, dangling ones are gone, and the ones that
// wait must be let go of when another keeps the object, since they would wait forever.
Verdict judge_dependent(const std::vector<OwnerRef>& owners, const std::vector<OwnerState>& states) {
  Verdict v;
  if (owners.empty()) return v;
  bool held = false;
  for (size_t i = 0; i < owners.size(); ++i) {
    switch (states[i]) {
      case OwnerState::alive:
      case OwnerState::unknown:
        held = true;
        break;
      case OwnerState::foreground:
        v.waited_for = true;
        v.forget.push_back(owners[i].uid);
        break;
      case OwnerState::absent:
        v.forget.push_back(owners[i].uid);
        break;
    }
  }
  if (!held) {
    v.action = Verdict::Action::remove;
  } else if (!v.forget.empty()) {
    v.action = Verdict::Action::trim;
  }
  return v;
}

bool forget_owners(json::Ref object, const std::vector<std::string>& uids) {
  json::Ref meta = object["metadata"], list = meta["ownerReferences"];
  bool changed = false;
  for (size_t i = list.size(); i-- > 0;) {
    if (std::find(uids.begin(), uids.end(), list.at(i)["uid"].str()) == uids.end()) continue;
    list.remove_at(i);
    changed = true;
  }
  if (changed && list.size() == 0) meta.remove("ownerReferences");
  return changed;
}

bool unblock_owners(json::Ref object) {
  bool changed = false;
  for (json::Ref owner : object["metadata"]["ownerReferences"]) {
    if (!owner["blockOwnerDeletion"].boolean()) continue;
    owner.set("blockOwnerDeletion", false);
    changed = true;
  }
  return changed;
}

bool has_finalizer(json::Cursor meta, std::string_view name) {
  bool found = false;
  meta["finalizers"].each([&](std::string_view, json::Cursor f) {
    found = f.str_equals(name);
    return !found;
  });
  return found;
}

// ---- the index

namespace {

// Of the owners of an object: does it hold up their deletion?
std::map<std::string, bool> blocks_by_uid(std::string_view stored) {
  std::map<std::string, bool> out;
  for (OwnerRef& o : read_owners(stored)) {
    bool& blocks = out[std::move(o.uid)];
    blocks = blocks || o.blocks;
  }
  return out;
}

// The uid of an object in foreground deletion, else nothing.
std::string waiting_uid(std::string_view stored) {
  if (stored.find(kForegroundFinalizer) == std::string_view::npos) return "";  // nearly always
  json::Cursor meta = json::Cursor(stored)["metadata"];
  if (!meta["deletionTimestamp"] || !has_finalizer(meta, kForegroundFinalizer)) return "";
  return meta["uid"].str();
}

}  // namespace

std::vector<std::string> OwnerIndex::update(const std::string& key, std::string_view before,
                                            std::string_view now) {
  std::string waited = waiting_uid(before), waits = waiting_uid(now);
  if (!waited.empty() && waited != waits) waiting_.erase(waited);
  if (!waits.empty()) waiting_[waits] = key;

  std::map<std::string, bool> old_owners = blocks_by_uid(before), owners = blocks_by_uid(now);
  std::vector<std::string> wake;
  for (const auto& [uid, blocked] : old_owners) {
    auto still = owners.find(uid);
    if (still == owners.end()) {
      auto it = owned_.find(uid);
      if (it != owned_.end() && it->second.erase(key) && it->second.empty()) owned_.erase(it);
    }
    if (!blocked || (still != owners.end() && still->second)) continue;
    if (auto owner = waiting_.find(uid); owner != waiting_.end()) wake.push_back(owner->second);
  }
  for (const auto& [uid, blocks] : owners) owned_[uid][key] = blocks;
  return wake;
}

void OwnerIndex::clear() {
  owned_.clear();
  waiting_.clear();
}

std::vector<std::string> OwnerIndex::dependents(const std::string& uid) const {
  std::vector<std::string> out;
  auto it = owned_.find(uid);
  if (it == owned_.end()) return out;
  for (const auto& [key, blocks] : it->second) out.push_back(key);
  return out;
}

bool OwnerIndex::blocked(const std::string& uid) const {
  auto it = owned_.find(uid);
  if (it == owned_.end()) return false;
  return std::any_of(it->second.begin(), it->second.end(), [](const auto& d) { return d.second; });
}

bool OwnerIndex::in_circle(const std::string& uid) const {
  auto it = owned_.find(uid);
  if (it == owned_.end()) return false;
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const auto& w) { return it->second.contains(w.second); });
}

}  // namespace limpet::api
