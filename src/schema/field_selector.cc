#include <algorithm>

#include "schema/selector.h"
#include "schema/types.h"

namespace limpet::schema {

namespace {

constexpr size_t kMaxText = 64 * 1024;

// In values, backslash escapes itself, the comma and the equals sign.
Result<std::string> unescape(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); i++) {
    if (s[i] == '\\') {
      if (i + 1 == s.size() || std::string_view("\\,=").find(s[i + 1]) == std::string_view::npos) {
        return fail(Errc::invalid_argument,
                    "invalid field selector: invalid escape sequence: " + std::string(s.substr(i, 2)));
      }
      out += s[++i];
    } else if (s[i] == ',' || s[i] == '=') {
      return fail(Errc::invalid_argument, "invalid field selector: unescaped character in value: " +
                                              std::to_string(static_cast<int>(s[i])));
    } else {
      out += s[i];
    }
  }
  return out;
}

json::Cursor walk(json::Cursor at, std::string_view path) {
  for (;;) {
    const size_t dot = path.find('.');
    at = at[path.substr(0, dot)];
    if (dot == std::string_view::npos || !at) return at;
    path.remove_prefix(dot + 1);
  }
}

// Booleans and numbers are not written when zero, yet selectable as "false" and "0".
std::string absent_value(const Type* type, std::string_view path) {
  while (type != nullptr) {
    const size_t dot = path.find('.');
    const Field* field = type->find(path.substr(0, dot));
    if (field == nullptr) break;
    if (dot == std::string_view::npos) {
      if (field->scalar() == Scalar::boolean) return "false";
      if (field->scalar() == Scalar::int32 || field->scalar() == Scalar::int64) return "0";
      break;
    }
    type = field->type();
    path.remove_prefix(dot + 1);
  }
  return {};
}

Result<> check_known(std::string_view field, std::span<const std::string_view> selectable) {
  if (field == "metadata.name" || field == "metadata.namespace") return {};
  if (std::find(selectable.begin(), selectable.end(), field) != selectable.end()) return {};
  if (!selectable.empty()) {
    return fail(Errc::invalid_argument, "field label not supported: " + std::string(field));
  }
  return fail(Errc::invalid_argument, json::quoted(field) +
                                          " is not a known field selector: only \"metadata.name\", "
                                          "\"metadata.namespace\"");
}

// Cuts the first term off `rest` at an unescaped comma.
std::string_view next_term(std::string_view& rest) {
  size_t i = 0;
  while (i < rest.size() && rest[i] != ',') i += rest[i] == '\\' ? 2 : 1;
  i = std::min(i, rest.size());
  const std::string_view term = rest.substr(0, i);
  rest.remove_prefix(std::min(i + 1, rest.size()));
  return term;
}

}  // namespace

Result<FieldSelector> FieldSelector::parse(std::string_view text,
                                           std::span<const std::string_view> selectable, const Type* type) {
  if (text.size() > kMaxText) return fail(Errc::too_large, "field selector is longer than 64 KiB");
  FieldSelector s;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view term = next_term(rest);
    if (term.empty()) continue;
    const size_t op = term.find('=');
    if (op == std::string_view::npos) {
      return fail(Errc::invalid_argument, "invalid selector: '" + std::string(text) +
                                              "'; can't understand '" + std::string(term) + "' (at byte " +
                                              std::to_string(term.data() - text.data()) + ")");
    }
    const bool equal = op == 0 || term[op - 1] != '!';
    const std::string_view field = term.substr(0, equal ? op : op - 1);
    std::string_view value = term.substr(op + 1);
    if (equal && value.starts_with('=')) value.remove_prefix(1);
    TRY(std::string plain, unescape(value));
    CHECK_OK(check_known(field, selectable));
    s.requirements_.push_back({std::string(field), std::move(plain), absent_value(type, field), equal});
  }
  return s;
}

bool FieldSelector::Requirement::matches(json::Cursor object) const {
  json::Cursor found = walk(object, field);
  // An event's `source` is the component that reported it, whichever of the two APIs wrote it.
  if (field == "source" && found.type() == json::Type::object) {
    found = found["component"];
    if (found.str().empty()) found = object["reportingComponent"];
  }
  switch (found.type()) {
    case json::Type::string:
      return found.str_equals(value) == equal;
    case json::Type::boolean:
    case json::Type::number:
      return (found.raw() == value) == equal;
    default:
      return (value == otherwise) == equal;
  }
}

bool FieldSelector::matches(json::Cursor object) const {
  return std::all_of(requirements_.begin(), requirements_.end(),
                     [&](const Requirement& r) { return r.matches(object); });
}

std::optional<std::string_view> FieldSelector::exact(std::string_view field) const {
  for (const Requirement& r : requirements_) {
    if (r.equal && r.field == field) return std::string_view(r.value);
  }
  return std::nullopt;
}

}  // namespace limpet::schema
