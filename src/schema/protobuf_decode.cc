// Protobuf messages to trees, by the tables.
#include <cstring>
#include <limits>
#include <unordered_map>

#include "base/bytes.h"
#include "base/clock.h"
#include "schema/codec.h"
#include "schema/protobuf.h"
#include "schema/protobuf_wire.h"
#include "schema/quantity.h"

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;
using wire::Item;
using wire::Reader;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxObjects = 20000;  // as for JSON, see decode.cc
constexpr std::string_view kMagic("k8s\0", 4);
constexpr int64_t kFirstSecond = -62135596800;  // 0001-01-01T00:00:00Z: what a JSON time can say
constexpr int64_t kLastSecond = 253402300799;   // 9999-12-31T23:59:59Z

std::unexpected<Error> wrong(const Field& field, const char* what) {
  return fail(Errc::invalid_argument, "protobuf: field " + std::string(field.name()) + " " + what);
}

// The entries of one map field, gathered from all over the message; a later entry of the same key wins.
using MapEntries = std::unordered_map<std::string, Value>;

class Decoder {
 public:
  // Adds what the message says to `into`. outer: only the fields of an inlined message of that number.
  Result<> message(std::string_view data, const Type& type, uint8_t outer, Ref into);

 private:
  Result<> field(const Item& item, const Field& field, Ref into);
  Result<> list(const Item& item, const Field& field, Ref into);
  Result<> map_entry(const Item& item, const Field& field, MapEntries& entries);
  // An empty Value: the element means "unset".
  Result<Value> element(const Item& item, const Field& field);
  Result<Value> integer(uint64_t raw, const Field& field);
  Result<Value> text(const Item& item, const Field& field);
  Result<Value> nested(const Item& item, const Field& field);
  Result<Value> special(const Item& item, const Field& field);
  Result<Value> time(std::string_view data, const Field& field);
  Result<Value> int_or_string(std::string_view data, const Field& field);

  Result<> count() {
    if (++values_ > kMaxValues) return fail(Errc::too_large, strf("more than %zu values", kMaxValues));
    return {};
  }

  int depth_ = 0;
  size_t objects_ = 0, values_ = 0;
};

const Field* inlined(const Type& type, uint32_t outer) {
  for (const Field& f : type.fields()) {
    if (f.outer() == outer) return &f;
  }
  return nullptr;
}

Result<> Decoder::message(std::string_view data, const Type& type, uint8_t outer, Ref into) {
  if (++depth_ > kMaxDepth) return fail(Errc::invalid_argument, "protobuf: nesting deeper than 64");
  if (++objects_ > kMaxObjects)
    return fail(Errc::too_large, strf("more than %zu nested objects", kMaxObjects));
  std::unordered_map<const Field*, MapEntries> maps;
  Reader reader(data);
  while (!reader.done()) {
    TRY(const Item item, reader.next());
    if (item.number > 0xffff) continue;
    const Field* f = type.find(static_cast<uint16_t>(item.number), outer);
    if (f && f->shape() == Shape::map) {
      CHECK_OK(map_entry(item, *f, maps[f]));
    } else if (f) {
      CHECK_OK(field(item, *f, into));
    } else if (outer == 0 && item.kind == wire::bytes && item.number <= 0xff && inlined(type, item.number)) {
      CHECK_OK(message(item.data, type, static_cast<uint8_t>(item.number), into));
    }
  }
  for (auto& [f, entries] : maps) {
    Ref object = into.set(f->name(), Value::object());
    for (auto& [key, value] : entries) object.add(key, std::move(value));
  }
  depth_--;
  return {};
}

bool is_zero(Ref value) {
  if (value.is_string()) return value.str().empty();
  if (value.is_number()) return value.real() == 0;
  if (value.is_object() || value.is_array()) return value.size() == 0;
  return !value.boolean();
}

Result<> Decoder::field(const Item& item, const Field& f, Ref into) {
  if (f.shape() == Shape::list) return list(item, f, into);
  if (f.scalar() == Scalar::object) {
    // A message field that comes twice is merged.
    if (item.kind != wire::bytes) return wrong(f, "has the wrong wire type");
    Ref node = into.ensure_object(f.name());
    CHECK_OK(message(item.data, *f.type(), 0, node));
    if (node.size() == 0 && !f.pointer()) into.remove(f.name());
    return {};
  }
  TRY(Value value, element(item, f));
  if (!value || (!f.pointer() && !f.required() && is_zero(value))) {
    into.remove(f.name());
    return {};
  }
  into.set(f.name(), std::move(value));
  return {};
}

Result<> Decoder::list(const Item& item, const Field& f, Ref into) {
  Ref array = into.ensure_array(f.name());
  const bool numeric =
      f.scalar() == Scalar::int32 || f.scalar() == Scalar::int64 || f.scalar() == Scalar::boolean;
  if (numeric && item.kind == wire::bytes) {  // packed
    Reader numbers(item.data);
    while (!numbers.done()) {
      TRY(const uint64_t raw, numbers.number());
      CHECK_OK(count());
      TRY(Value value, integer(raw, f));
      array.push(std::move(value));
    }
    return {};
  }
  TRY(Value value, element(item, f));
  array.push(value ? std::move(value) : Value::null());
  return {};
}

Result<> Decoder::map_entry(const Item& item, const Field& f, MapEntries& entries) {
  if (item.kind != wire::bytes) return wrong(f, "has the wrong wire type");
  std::string key;
  Item content{.number = 2, .kind = wire::bytes, .value = 0, .data = {}};
  Reader reader(item.data);
  while (!reader.done()) {
    TRY(const Item part, reader.next());
    if (part.number == 1) {
      if (part.kind != wire::bytes || !wire::is_text(part.data)) return wrong(f, "has a key that is no text");
      key = part.data;
    } else if (part.number == 2) {
      content = part;
    }
  }
  TRY(Value value, element(content, f));
  entries[key] = value ? std::move(value) : Value::null();
  return {};
}

Result<Value> Decoder::element(const Item& item, const Field& f) {
  CHECK_OK(count());
  switch (f.scalar()) {
    case Scalar::boolean:
    case Scalar::int32:
    case Scalar::int64:
      if (item.kind != wire::varint) return wrong(f, "has the wrong wire type");
      return integer(item.value, f);
    case Scalar::float64: {
      if (item.kind != wire::fixed64) return wrong(f, "has the wrong wire type");
      double d = 0;
      memcpy(&d, &item.value, sizeof d);
      return Value::real(d);
    }
    default:
      break;
  }
  if (item.kind != wire::bytes) return wrong(f, "has the wrong wire type");
  if (f.scalar() == Scalar::string) return text(item, f);
  if (f.scalar() == Scalar::bytes) return Value::string(base64_encode(item.data));
  if (f.scalar() == Scalar::object) return nested(item, f);
  return special(item, f);
}

Result<Value> Decoder::integer(uint64_t raw, const Field& f) {
  const auto value = static_cast<int64_t>(raw);
  if (f.scalar() == Scalar::boolean) return Value::boolean(raw != 0);
  if (f.scalar() == Scalar::int32 &&
      (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max())) {
    return wrong(f, "is out of the range of int32");
  }
  return Value::number(value);
}

Result<Value> Decoder::text(const Item& item, const Field& f) {
  if (!wire::is_text(item.data)) return wrong(f, "is not valid UTF-8 text");
  return Value::string(item.data);
}

Result<Value> Decoder::nested(const Item& item, const Field& f) {
  Value object = Value::object();
  CHECK_OK(message(item.data, *f.type(), 0, object.ref()));
  return object;
}

// The small messages that JSON writes as one value.
Result<Value> Decoder::special(const Item& item, const Field& f) {
  switch (f.scalar()) {
    case Scalar::time:
    case Scalar::micro_time:
      return time(item.data, f);
    case Scalar::int_or_string:
      return int_or_string(item.data, f);
    default:
      break;
  }
  std::string_view content;
  Value list = Value::array();
  Reader reader(item.data);
  while (!reader.done()) {
    TRY(const Item part, reader.next());
    if (part.number != 1 || part.kind != wire::bytes) continue;
    content = part.data;
    if (f.scalar() != Scalar::strings) continue;
    TRY(Value string, text(part, f));
    list.ref().push(std::move(string));
  }
  if (f.scalar() == Scalar::strings) return list;
  if (f.scalar() == Scalar::quantity) {
    if (content.empty()) return Value::string("0");
    TRY(const std::string canonical, canonical_quantity(content));
    return Value::string(canonical);
  }
  if (content.empty()) return Value();
  TRY(Value carried,
      json::parse(content, {.max_values = kMaxValues}));  // RawExtension and FieldsV1 carry JSON
  values_ += json::count_values(carried, kMaxValues);
  CHECK_OK(count());
  return carried;
}

Result<Value> Decoder::time(std::string_view data, const Field& f) {
  if (data.empty()) return Value();  // Go's zero time
  WallTime t;
  Reader reader(data);
  while (!reader.done()) {
    TRY(const Item part, reader.next());
    if (part.kind != wire::varint) continue;
    if (part.number == 1) t.seconds = static_cast<int64_t>(part.value);
    if (part.number == 2) t.nanos = static_cast<int32_t>(part.value);
  }
  if (t.seconds < kFirstSecond || t.seconds > kLastSecond || t.nanos < 0 || t.nanos > 999999999) {
    return wrong(f, "is no time between the years 1 and 9999");
  }
  if (t.seconds == kFirstSecond && t.nanos == 0) return Value();
  return Value::string(f.scalar() == Scalar::time ? rfc3339(t) : rfc3339_micro(t));
}

Result<Value> Decoder::int_or_string(std::string_view data, const Field& f) {
  int64_t type = 0, number = 0;
  std::string_view string;
  Reader reader(data);
  while (!reader.done()) {
    TRY(const Item part, reader.next());
    if (part.number == 1 && part.kind == wire::varint) type = static_cast<int64_t>(part.value);
    if (part.number == 2 && part.kind == wire::varint) number = static_cast<int32_t>(part.value);
    if (part.number == 3 && part.kind == wire::bytes) string = part.data;
  }
  if (type == 0) return Value::number(number);
  if (!wire::is_text(string)) return wrong(f, "is not valid UTF-8 text");
  return Value::string(string);
}

}  // namespace

bool is_enveloped(std::string_view body) { return body.starts_with(kMagic); }

Result<Envelope> open_envelope(std::string_view body) {
  if (!is_enveloped(body)) {
    return fail(Errc::invalid_argument, "the body does not start with the protobuf prefix of Kubernetes");
  }
  Envelope out;
  Reader reader(body.substr(kMagic.size()));
  while (!reader.done()) {
    TRY(const Item item, reader.next());
    if (item.kind != wire::bytes) continue;
    if (item.number == 2) out.raw = item.data;
    if (item.number == 3) out.content_encoding = item.data;
    if (item.number == 4) out.content_type = item.data;
    if (item.number != 1) continue;
    Reader meta(item.data);
    while (!meta.done()) {
      TRY(const Item part, meta.next());
      if (part.kind != wire::bytes) continue;
      if (!wire::is_text(part.data))
        return fail(Errc::invalid_argument, "protobuf: apiVersion or kind is no text");
      if (part.number == 1) out.api_version = part.data;
      if (part.number == 2) out.kind = part.data;
    }
  }
  if (!out.content_encoding.empty()) {
    return fail(Errc::unsupported, "protobuf: objects with a content encoding are not supported");
  }
  return out;
}

Result<Value> decode_protobuf(std::string_view data, const Type& type) {
  Value object = Value::object();
  CHECK_OK(Decoder().message(data, type, 0, object.ref()));
  return object;
}

Result<Value> decode_protobuf_object(const Envelope& envelope, const Type& type) {
  Value object = Value::object();
  if (!envelope.api_version.empty()) object.ref().add("apiVersion", Value::string(envelope.api_version));
  if (!envelope.kind.empty()) object.ref().add("kind", Value::string(envelope.kind));
  CHECK_OK(Decoder().message(envelope.raw, type, 0, object.ref()));
  return object;
}

}  // namespace limpet::schema
