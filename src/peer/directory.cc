#include "peer/directory.h"

#include <algorithm>

#include "peer/address.h"

namespace limpet::peer {
namespace {

// Each once, in the form in which they are compared; what is no address is left out.
void add(std::vector<std::string>& out, std::string_view text) {
  if (out.size() >= 2 * kMaxAddresses) return;
  const Result<Address> address = parse_address(text);
  if (!address) return;
  std::string form = address->text();
  if (std::find(out.begin(), out.end(), form) == out.end()) out.push_back(std::move(form));
}

std::vector<std::string> clean(const std::vector<std::string>& addresses) {
  std::vector<std::string> out;
  for (const std::string& a : addresses) add(out, a);
  return out;
}

bool holds(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

std::vector<std::string> Directory::addresses(const Entry& entry) {
  std::vector<std::string> out;
  const bool current =
      holds(entry.told, entry.worked) || entry.seen == entry.worked || holds(entry.set, entry.worked);
  if (!entry.worked.empty() && current) add(out, entry.worked);
  for (const std::string& a : entry.told) add(out, a);
  add(out, entry.seen);
  for (const std::string& a : entry.set) add(out, a);
  return out;
}

std::vector<MemberId> Directory::set(const std::vector<Member>& members) {
  std::vector<MemberId> changed;
  std::map<MemberId, Entry> next;
  for (const Member& member : members) {
    if (member.id == 0) continue;
    Entry& entry = next[member.id];
    std::vector<std::string> before;
    if (const auto had = entries_.find(member.id); had != entries_.end() && had->second.name == member.name) {
      before = addresses(had->second);
      entry = std::move(had->second);
    }
    entry.name = member.name;
    entry.set = clean(member.addresses);
    if (addresses(entry) != before) changed.push_back(member.id);
  }
  entries_ = std::move(next);
  return changed;
}

std::string Directory::name_of(MemberId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? "" : it->second.name;
}

MemberId Directory::find(const std::string& name) const {
  for (const auto& [id, entry] : entries_) {
    if (entry.name == name) return id;
  }
  return 0;
}

std::vector<MemberId> Directory::all() const {
  std::vector<MemberId> out;
  for (const auto& [id, entry] : entries_) out.push_back(id);
  return out;
}

std::vector<std::string> Directory::addresses(MemberId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? std::vector<std::string>() : addresses(it->second);
}

bool Directory::learn(const About& about, const std::string& from) {
  const auto it = entries_.find(about.member);
  if (it == entries_.end() || it->second.name != about.name) return false;
  Entry& entry = it->second;
  const std::vector<std::string> before = addresses(entry);
  std::vector<std::string> told = clean(about.addresses);
  if (told != entry.told) entry.seen.clear();  // that was before it moved
  entry.told = std::move(told);
  if (!from.empty() && about.port != 0) entry.seen = Address{from, about.port}.text();

  std::vector<std::string> keep = entry.told;
  if (!entry.seen.empty()) add(keep, entry.seen);
  const auto is_new = [](const std::vector<std::string>& had) {
    return [&had](const std::string& a) { return !holds(had, a); };
  };
  const std::vector<std::string> now = addresses(entry);
  const bool fresh = std::any_of(now.begin(), now.end(), is_new(before));
  if (fresh) entry.worked.clear();  // was reached elsewhere before it moved
  if (on_learned_ && std::any_of(keep.begin(), keep.end(), is_new(entry.set))) {
    on_learned_({about.member, entry.name, std::move(keep)});
  }
  return fresh;
}

void Directory::reached(MemberId id, const std::string& address) {
  if (const auto it = entries_.find(id); it != entries_.end()) it->second.worked = address;
}

}  // namespace limpet::peer
