// Strict decoding: one walk over tree and tables that checks, prunes and normalises.
#include <cstdint>
#include <limits>

#include "base/bytes.h"
#include "base/clock.h"
#include "schema/codec.h"
#include "schema/quantity.h"

namespace limpet::schema {

namespace {

constexpr size_t kMaxProblems = 100;
// Two bytes of text ("{}") become a tree of defaults: without a bound a body of 3 MB would fill a small
// device.
constexpr size_t kMaxObjects = 20000;

using json::Ref;
using json::Value;

const char* go_scalar(const Field& field) {
  switch (field.scalar()) {
    case Scalar::boolean:
      return "bool";
    case Scalar::int32:
      return "int32";
    case Scalar::int64:
      return "int64";
    case Scalar::float64:
      return "float64";
    case Scalar::bytes:
      return "[]uint8";
    case Scalar::strings:
      return "[]string";
    case Scalar::fields_v1:
      return "v1.FieldsV1";
    default:
      return "string";
  }
}

// The type as Go's decoder would name it ("[]v1.Container", "map[string]string", "int32").
std::string go_type(const Field& field, bool element) {
  std::string name = go_scalar(field);
  if (field.scalar() == Scalar::object) name = "v1." + std::string(field.type()->short_name());
  if (element) return name;
  if (field.shape() == Shape::list) return "[]" + name;
  if (field.shape() == Shape::map) return "map[string]" + name;
  return name;
}

std::string json_type(Ref node) {
  switch (node.type()) {
    case json::Type::boolean:
      return "bool";
    case json::Type::number:
      return "number";
    case json::Type::string:
      return "string";
    case json::Type::array:
      return "array";
    case json::Type::object:
      return "object";
    default:
      return "null";
  }
}

// Go drops these on output (omitempty); to it, and so to us, they are the same as absent.
bool is_zero(Ref node, const Field& field) {
  switch (node.type()) {
    case json::Type::boolean:
      return !node.boolean();
    case json::Type::number:
      return node.real() == 0 && node.exact_integer().value_or(0) == 0;
    case json::Type::string:
      return node.str().empty() && field.scalar() != Scalar::quantity;
    default:
      return false;
  }
}

class Decoder {
 public:
  explicit Decoder(std::vector<std::string>* problems) : problems_(problems) {}

  Result<> object(Ref node, const Type& type);

 private:
  // What becomes of a value: it stays (changed in place or not), is replaced, or goes.
  struct Outcome {
    bool drop = false;
    Value replacement;
  };

  Result<Outcome> field(Ref node, const Field& field, const Type& owner);
  Result<Outcome> list(Ref node, const Field& field, const Type& owner);
  Result<Outcome> map(Ref node, const Field& field, const Type& owner);
  Result<Outcome> element(Ref node, const Field& field, const Type& owner);
  Result<Outcome> null_element(const Field& field);
  Result<Outcome> integer(Ref node, const Field& field, const Type& owner);
  Result<Outcome> text(Ref node, const Field& field, const Type& owner);
  Result<Outcome> quantity(Ref node, const Field& field, const Type& owner);

  // Paths with and without indexes: Kubernetes names unknown fields by the first, wrong types by the second.
  class Step {
   public:
    Step(Decoder* d, std::string_view key) : d_(d), path_(d->path_.size()), plain_(d->plain_.size()) {
      for (std::string* p : {&d->path_, &d->plain_})
        *p += p->empty() ? std::string(key) : "." + std::string(key);
    }
    Step(Decoder* d, size_t index) : d_(d), path_(d->path_.size()), plain_(d->plain_.size()) {
      d->path_ += strf("[%zu]", index);
    }
    ~Step() {
      d_->path_.resize(path_);
      d_->plain_.resize(plain_);
    }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Decoder* d_;
    size_t path_, plain_;
  };

  std::unexpected<Error> mismatch(std::string_view value, std::string_view type, const Type* owner) const {
    const std::string place =
        owner ? "Go struct field " + std::string(owner->short_name()) + "." + plain_ + " of type "
              : "Go value of type ";
    return fail(Errc::invalid_argument,
                "json: cannot unmarshal " + std::string(value) + " into " + place + std::string(type));
  }
  std::unexpected<Error> bad_value(std::string_view what) const {
    return fail(Errc::invalid_argument, plain_ + ": " + std::string(what));
  }

  void problem(const char* what, std::string_view key) {
    if (!problems_ || problems_->size() >= kMaxProblems) return;
    const std::string prefix = path_.empty() ? "" : path_ + ".";
    problems_->push_back(
        strf("%s field \"%s%.*s\"", what, prefix.c_str(), static_cast<int>(key.size()), key.data()));
  }

  std::vector<std::string>* problems_;
  std::string path_, plain_;
  size_t objects_ = 0;
};

Result<> Decoder::object(Ref node, const Type& type) {
  if (!node.is_object()) return mismatch(json_type(node), "v1." + std::string(type.short_name()), nullptr);
  if (++objects_ > kMaxObjects)
    return fail(Errc::too_large, strf("more than %zu nested objects", kMaxObjects));
  if (type.open()) return {};
  std::vector<std::string> gone;
  std::vector<std::pair<std::string, Value>> changed;
  for (Ref child : node) {
    const Field* known = type.find(child.key());
    if (!known) {
      problem("unknown", child.key());
      gone.emplace_back(child.key());
      continue;
    }
    Step step(this, child.key());
    TRY(Outcome outcome, field(child, *known, type));
    if (outcome.drop) {
      gone.emplace_back(child.key());
    } else if (outcome.replacement) {
      changed.emplace_back(child.key(), std::move(outcome.replacement));
    }
  }
  // Removing in document order finds each key behind at most as many others as the type has fields.
  for (const std::string& key : gone) node.remove(key);
  for (auto& [key, value] : changed) node.set(key, std::move(value));
  return {};
}

Result<Decoder::Outcome> Decoder::field(Ref node, const Field& f, const Type& owner) {
  if (node.is_null()) return Outcome{.drop = true, .replacement = {}};
  if (f.shape() == Shape::list) return list(node, f, owner);
  if (f.shape() == Shape::map) return map(node, f, owner);
  TRY(Outcome outcome, element(node, f, owner));
  const Ref now = outcome.replacement ? outcome.replacement.ref() : node;
  const bool empty_list = f.scalar() == Scalar::strings && now.size() == 0;
  if (!f.required() && (empty_list || (!f.pointer() && is_zero(now, f)))) outcome.drop = true;
  return outcome;
}

Result<Decoder::Outcome> Decoder::list(Ref node, const Field& f, const Type& owner) {
  if (!node.is_array()) return mismatch(json_type(node), go_type(f, false), &owner);
  if (node.size() == 0) return Outcome{.drop = !f.required(), .replacement = {}};
  std::vector<std::pair<size_t, Value>> changed;
  size_t index = 0;
  for (Ref item : node) {
    Step step(this, index);
    TRY(Outcome outcome, element(item, f, owner));
    if (outcome.replacement) changed.emplace_back(index, std::move(outcome.replacement));
    index++;
  }
  if (changed.empty()) return Outcome{};
  Outcome out{.drop = false, .replacement = Value::array()};
  auto next = changed.begin();
  index = 0;
  for (Ref item : node) {
    const bool replace = next != changed.end() && next->first == index++;
    out.replacement.ref().push(replace ? std::move(next->second) : item.clone());
    if (replace) ++next;
  }
  return out;
}

Result<Decoder::Outcome> Decoder::map(Ref node, const Field& f, const Type& owner) {
  if (!node.is_object()) return mismatch(json_type(node), go_type(f, false), &owner);
  if (node.size() == 0) return Outcome{.drop = !f.required(), .replacement = {}};
  std::vector<std::pair<size_t, Value>> changed;
  size_t index = 0;
  for (Ref item : node) {
    Step step(this, item.key());
    TRY(Outcome outcome, element(item, f, owner));
    if (outcome.replacement) changed.emplace_back(index, std::move(outcome.replacement));
    index++;
  }
  if (changed.empty()) return Outcome{};
  Outcome out{.drop = false, .replacement = Value::object()};
  auto next = changed.begin();
  index = 0;
  for (Ref item : node) {
    const bool replace = next != changed.end() && next->first == index++;
    out.replacement.ref().add(item.key(), replace ? std::move(next->second) : item.clone());
    if (replace) ++next;
  }
  return out;
}

// Go reads null inside a list or map as the zero of the element.
Result<Decoder::Outcome> Decoder::null_element(const Field& f) {
  Outcome out;
  switch (f.scalar()) {
    case Scalar::boolean:
      out.replacement = Value::boolean(false);
      break;
    case Scalar::int32:
    case Scalar::int64:
    case Scalar::float64:
    case Scalar::int_or_string:
      out.replacement = Value::number(0);
      break;
    case Scalar::object:
      if (++objects_ > kMaxObjects) {
        return fail(Errc::too_large, strf("more than %zu nested objects", kMaxObjects));
      }
      out.replacement = Value::object();
      break;
    case Scalar::fields_v1:
      out.replacement = Value::object();
      break;
    case Scalar::strings:
      out.replacement = Value::array();
      break;
    case Scalar::quantity:
      out.replacement = Value::string("0");
      break;
    case Scalar::raw:
    case Scalar::time:
    case Scalar::micro_time:
      break;
    default:
      out.replacement = Value::string("");
      break;
  }
  return out;
}

Result<Decoder::Outcome> Decoder::element(Ref node, const Field& f, const Type& owner) {
  if (node.is_null()) return null_element(f);
  switch (f.scalar()) {
    case Scalar::object:
      if (!node.is_object()) return mismatch(json_type(node), go_type(f, true), &owner);
      CHECK_OK(object(node, *f.type()));
      return Outcome{};
    case Scalar::raw:
      return Outcome{};
    case Scalar::fields_v1:
      if (!node.is_object()) return mismatch(json_type(node), go_type(f, true), &owner);
      return Outcome{};
    case Scalar::boolean:
      if (node.type() != json::Type::boolean) return mismatch(json_type(node), "bool", &owner);
      return Outcome{};
    case Scalar::float64:
      if (!node.is_number()) return mismatch(json_type(node), "float64", &owner);
      return Outcome{};
    case Scalar::int32:
    case Scalar::int64:
      return integer(node, f, owner);
    case Scalar::int_or_string:
      return node.is_string() ? Result<Outcome>(Outcome{}) : integer(node, f, owner);
    case Scalar::quantity:
      return quantity(node, f, owner);
    case Scalar::strings:
      if (!node.is_array()) return mismatch(json_type(node), "[]string", &owner);
      for (Ref item : node) {
        if (!item.is_string()) return mismatch(json_type(item), "string", &owner);
      }
      return Outcome{};
    default:
      return text(node, f, owner);
  }
}

Result<Decoder::Outcome> Decoder::integer(Ref node, const Field& f, const Type& owner) {
  const char* type = f.scalar() == Scalar::int64 ? "int64" : "int32";
  if (!node.is_number()) return mismatch(json_type(node), type, &owner);
  const std::optional<int64_t> value = node.exact_integer();
  const bool wide = f.scalar() == Scalar::int64;
  if (!value || (!wide && (*value < std::numeric_limits<int32_t>::min() ||
                           *value > std::numeric_limits<int32_t>::max()))) {
    return mismatch("number " + node.dump(), type, &owner);
  }
  return Outcome{};
}

Result<Decoder::Outcome> Decoder::text(Ref node, const Field& f, const Type& owner) {
  if (!node.is_string()) return mismatch(json_type(node), go_scalar(f), &owner);
  Outcome out;
  if (f.scalar() == Scalar::bytes) {
    // Go's decoder skips line breaks, which block scalars of YAML bring along; what is stored has none.
    std::string given(node.str());
    if (std::erase_if(given, [](char c) { return c == '\n' || c == '\r'; }) > 0) {
      out.replacement = Value::string(given);
    }
    auto bytes = base64_decode(given);
    if (!bytes) return bad_value(bytes.error().message);
  } else if (f.scalar() == Scalar::time || f.scalar() == Scalar::micro_time) {
    auto time = parse_rfc3339(node.str());
    if (!time) return bad_value(time.error().message);
    const std::string canonical = f.scalar() == Scalar::time ? rfc3339(*time) : rfc3339_micro(*time);
    if (canonical != node.str()) out.replacement = Value::string(canonical);
  }
  return out;
}

Result<Decoder::Outcome> Decoder::quantity(Ref node, const Field&, const Type& owner) {
  if (!node.is_string() && !node.is_number()) return mismatch(json_type(node), "resource.Quantity", &owner);
  const std::string given = node.is_string() ? std::string(node.str()) : node.dump();
  auto canonical = canonical_quantity(given);
  if (!canonical) return bad_value(canonical.error().message);
  Outcome out;
  if (!node.is_string() || *canonical != given) out.replacement = Value::string(*canonical);
  return out;
}

}  // namespace

Result<> decode_tree(Ref object, const Type& type, std::vector<std::string>* problems) {
  return Decoder(problems).object(object, type);
}

Result<Decoded> decode_json(std::string_view text, const Type& type) {
  Decoded out;
  std::vector<std::string> duplicates;
  json::Limits limits;
  limits.allow_duplicates = true;
  limits.max_values = kMaxValues;
  TRY(out.object, json::parse(text, limits, &duplicates));
  for (const std::string& path : duplicates) out.problems.push_back("duplicate field \"" + path + "\"");
  CHECK_OK(decode_tree(out.object.ref(), type, &out.problems));
  if (out.problems.size() > kMaxProblems) out.problems.resize(kMaxProblems);
  return out;
}

std::string strict_decoding_error(const std::vector<std::string>& problems) {
  std::string out = "strict decoding error: ";
  for (size_t i = 0; i < problems.size(); i++) out += (i ? ", " : "") + problems[i];
  return out;
}

}  // namespace limpet::schema
