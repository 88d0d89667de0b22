// Revisions: which replica set has the deployment's template, and the annotations by which people and
// `kubectl rollout` tell the others apart.
#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "base/sha256.h"
#include "controllers/deployment/reconcile.h"

namespace limpet::controllers::deployment {
namespace {

constexpr size_t kLongestHistory = 2000;
constexpr size_t kLongestName = 253;
constexpr size_t kHashLength = 10;

// Not copied from a deployment to its sets. (The last applied configuration is not even in the views.)
bool stays(std::string_view annotation) {
  return annotation == kRevision || annotation == kHistory || annotation == kDesired || annotation == kMax ||
         annotation == "deprecated.deployment.rollback.to";
}

std::optional<int64_t> number(const Annotations& annotations, const char* name) {
  const auto it = annotations.find(name);
  if (it == annotations.end()) return std::nullopt;
  int64_t v = 0;
  const std::string& text = it->second;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return v;
}

// A revision that a set had is kept in its history, the oldest of which are dropped when it gets long.
std::string lengthened(std::string history, const std::string& revision) {
  if (history.empty()) return revision;
  while (history.size() + 1 + revision.size() > kLongestHistory) {
    const size_t comma = history.find(',');
    if (comma == std::string::npos) return history;
    history.erase(0, comma + 1);
  }
  return history + "," + revision;
}

// The letters of generated names: no vowels, nothing that looks like something else.
std::string hash_of(const DeploymentView& d) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  const std::string text = d.template_digest + "/" + std::to_string(d.status.collisions);
  std::string out;
  for (const uint8_t byte : sha256(text)) {
    if (out.size() < kHashLength) out += kLetters[byte % kLetters.size()];
  }
  return out;
}

}  // namespace

int64_t revision_of(const ReplicaSetView& set) { return number(set.annotations, kRevision).value_or(0); }

std::optional<int64_t> count_in(const ReplicaSetView& set, const char* annotation) {
  const std::optional<int64_t> n = number(set.annotations, annotation);
  return n && *n >= 0 && *n <= INT32_MAX ? n : std::nullopt;
}

// Of several sets with the template the oldest is the one.
void Planner::split() {
  std::vector<ReplicaSetView*> ordered;
  for (ReplicaSetView& s : sets) ordered.push_back(&s);
  by_creation(ordered);
  for (ReplicaSetView* s : ordered) {
    if (!fresh && s->template_digest == d.template_digest) {
      fresh = s;
    } else {
      old.push_back(s);
    }
  }
}

// The new set has the highest revision; the annotations of the deployment are the set's, too, which is how
// change causes are remembered.
void Planner::keep_revision() {
  if (!fresh) return;
  const auto note = [this](const std::string& name, const std::string& value) {
    std::string& have = fresh->annotations[name];
    if (have == value) return;
    change_of(*fresh).annotations[name] = value;
    have = value;
  };
  for (const auto& [name, value] : d.annotations) {
    if (!stays(name)) note(name, value);
  }
  int64_t highest = 0;
  for (const ReplicaSetView* s : old) highest = std::max(highest, revision_of(*s));
  const auto had = fresh->annotations.find(kRevision);
  const bool readable = had == fresh->annotations.end() || had->second.empty() ||
                        number(fresh->annotations, kRevision).has_value();
  if (readable && revision_of(*fresh) < highest + 1) {
    const std::string before = had == fresh->annotations.end() ? "" : had->second;
    note(kRevision, std::to_string(highest + 1));
    if (!before.empty()) note(kHistory, lengthened(fresh->annotations[kHistory], before));
  }
  if (fresh->min_ready_s != d.min_ready_s) {
    change_of(*fresh).min_ready_s = d.min_ready_s;
    fresh->min_ready_s = d.min_ready_s;
  }
  const std::string& now_has = fresh->annotations[kRevision];
  const auto mine = d.annotations.find(kRevision);
  if (mine == d.annotations.end() || mine->second != now_has) out.revision = now_has;
  if (d.has_deadline() && !find_condition(base.conditions, "Progressing")) {
    set_condition(base, "Progressing", "True", "FoundNewReplicaSet",
                  "Found new replica set \"" + fresh->name + "\"", now);
  }
}

NewSet Planner::new_set() const {
  NewSet s;
  s.hash = hash_of(d);
  s.name = d.name.substr(0, kLongestName - 1 - kHashLength) + "-" + s.hash;
  s.replicas = new_set_replicas();
  for (const auto& [name, value] : d.annotations) {
    if (!stays(name)) s.annotations[name] = value;
  }
  int64_t highest = 0;
  for (const ReplicaSetView* o : old) highest = std::max(highest, revision_of(*o));
  s.revision = std::to_string(highest + 1);
  s.annotations[kRevision] = s.revision;
  s.annotations[kDesired] = std::to_string(d.replicas);
  s.annotations[kMax] = std::to_string(d.replicas + max_surge());
  return s;
}

}  // namespace limpet::controllers::deployment
