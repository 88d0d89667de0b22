#include "schema/fieldset.h"

namespace limpet::schema {

void FieldSet::add(const FieldSet& other) {
  member |= other.member;
  for (const auto& [element, child] : other.children) children[element].add(child);
}

void FieldSet::add(FieldSet&& other) {
  member |= other.member;
  children.merge(other.children);  // what is in both stays there
  for (auto& [element, child] : other.children) children.find(element)->second.add(std::move(child));
}

void FieldSet::subtract(const FieldSet& other) {
  if (other.member) member = false;
  for (auto it = children.begin(); it != children.end();) {
    const auto theirs = other.children.find(it->first);
    if (theirs != other.children.end()) it->second.subtract(theirs->second);
    it = it->second.empty() ? children.erase(it) : std::next(it);
  }
}

void FieldSet::intersect(const FieldSet& other) {
  member = member && other.member;
  for (auto it = children.begin(); it != children.end();) {
    const auto theirs = other.children.find(it->first);
    if (theirs == other.children.end()) {
      it = children.erase(it);
      continue;
    }
    it->second.intersect(theirs->second);
    it = it->second.empty() ? children.erase(it) : std::next(it);
  }
}

namespace {

void write(const FieldSet& set, json::Writer& out, bool root) {
  out.begin_object();
  if (set.member && !root && !set.children.empty()) out.key(".").raw("{}");
  for (const auto& [element, child] : set.children) {
    out.key(element);
    write(child, out, false);
  }
  out.end_object();
}

// `k:{"a":1,"b":"x"}` becomes `[a=1,b="x"]`.
std::string readable(std::string_view element) {
  const std::string_view rest = element.substr(2);
  if (element.starts_with("f:")) return "." + std::string(rest);
  if (element.starts_with("v:")) return "[=" + std::string(rest) + "]";
  if (element.starts_with("i:")) return "[" + std::string(rest) + "]";
  std::string out = "[";
  json::Cursor(rest).each([&](std::string_view key, json::Cursor value) {
    if (out.size() > 1) out += ',';
    out.append(key).append("=").append(value.raw());
    return true;
  });
  return out + "]";
}

void collect(const FieldSet& set, const std::string& path, std::vector<std::string>& out) {
  if (set.member) out.push_back(path);
  for (const auto& [element, child] : set.children) collect(child, path + readable(element), out);
}

}  // namespace

std::string FieldSet::json() const {
  json::Writer out;
  write(*this, out, true);
  return out.take();
}

std::vector<std::string> FieldSet::paths() const {
  std::vector<std::string> out;
  collect(*this, "", out);
  return out;
}

bool parse_field_set(json::Ref fields_v1, FieldSet& out) {
  if (!fields_v1.is_object()) return false;
  for (json::Ref m : fields_v1) {
    const std::string_view key = m.key();
    if (!m.is_object()) return false;
    if (key == ".") {
      out.member = true;
      continue;
    }
    if (key.size() < 2 || key[1] != ':' || std::string_view("fkvi").find(key[0]) == std::string_view::npos)
      return false;
    FieldSet& child = out.children[std::string(key)];
    if (m.size() == 0) {
      child.member = true;
    } else if (!parse_field_set(m, child)) {
      return false;
    }
  }
  return true;
}

}  // namespace limpet::schema
