#include "api/selection.h"

#include "api/object.h"
#include "base/bytes.h"

namespace limpet::api {

std::string Selection::fingerprint() const {
  uint64_t h = 14695981039346656037ull;  // FNV-1a
  auto mix = [&h](std::string_view s) {
    for (unsigned char c : s) h = (h ^ c) * 1099511628211ull;
    h = (h ^ 0xff) * 1099511628211ull;
  };
  mix(prefix);
  mix(labels.str());
  for (const auto& r : fields.requirements()) {
    mix(r.field);
    mix(r.equal ? "=" : "!=");
    mix(r.value);
  }
  return hex64(h);
}

Outcome<Selection> read_selection(const Call& call) {
  const schema::Resource& r = *call.resource;
  Selection s;
  s.prefix = key_prefix(r, call.ns());
  Result<schema::LabelSelector> labels = schema::LabelSelector::parse(call.query().get("labelSelector"));
  if (!labels)
    return std::unexpected(status::bad_request("unable to parse label selector: " + labels.error().message));
  s.labels = std::move(*labels);
  std::vector<std::string_view> selectable;
  for (std::string_view f : r.selectable_fields()) selectable.push_back(f);
  Result<schema::FieldSelector> fields =
      schema::FieldSelector::parse(call.query().get("fieldSelector"), selectable, r.type());
  if (!fields) return std::unexpected(status::bad_request(fields.error().message));
  s.fields = std::move(*fields);
  std::optional<std::string_view> name = s.fields.exact("metadata.name");
  bool whole_key = !r.namespaced() || !call.ns().empty();
  if (name && whole_key) s.prefix.append(*name);
  return s;
}

}  // namespace limpet::api
