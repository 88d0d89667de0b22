#include "api/garbage.h"

#include <algorithm>

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

Verdict judge_dependent(const std::vector<OwnerRef>& owners, const std::vector<OwnerState>& states) {
  Verdict v;
  bool held = false, waited_for = false;
  for (size_t i = 0; i < owners.size(); ++i) {
    switch (states[i]) {
      case OwnerState::alive:
      case OwnerState::unknown:
        held = true;
        break;
      case OwnerState::foreground:
        waited_for = true;
        break;
      case OwnerState::absent:
        v.dead.push_back(owners[i].uid);
        break;
    }
  }
  if (owners.empty()) return v;
  if (!held) {
    v.action = Verdict::Action::remove;
  } else if (!v.dead.empty() && !waited_for) {
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

}  // namespace limpet::api
