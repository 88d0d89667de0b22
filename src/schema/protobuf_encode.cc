// Stored JSON to protobuf messages, read with a cursor: no tree is built.
#include <cstring>

#include "base/bytes.h"
#include "base/clock.h"
#include "schema/protobuf.h"
#include "schema/protobuf_wire.h"

namespace limpet::schema {

namespace {

using json::Cursor;

constexpr int kMaxDepth = 64;
constexpr std::string_view kMagic("k8s\0", 4);

class Encoder {
 public:
  Result<> message(std::string& out, Cursor object, const Type& type);

 private:
  Result<> field(std::string& out, Cursor value, const Field& field);
  Result<> map(std::string& out, Cursor value, const Field& field);
  // The element as a field of the given number (2 inside map entries).
  Result<> element(std::string& out, Cursor value, const Field& field, uint32_t number);
  Result<> time(std::string& out, Cursor value, const Field& field, uint32_t number);
  void int_or_string(std::string& out, Cursor value, uint32_t number);

  int depth_ = 0;
};

// Calls f on the entries until one fails; cursors stop at the first "false".
template <class F>
Result<> each(Cursor value, F&& f) {
  Result<> result;
  value.each([&](std::string_view key, Cursor item) {
    result = f(key, item);
    return result.has_value();
  });
  return result;
}

Result<> Encoder::message(std::string& out, Cursor object, const Type& type) {
  if (++depth_ > kMaxDepth) return fail(Errc::invalid_argument, "nesting deeper than 64");
  // Messages that JSON inlines are gathered apart; a type has one at most.
  std::string inlined;
  uint8_t inlined_number = 0;
  CHECK_OK(each(object, [&](std::string_view key, Cursor value) -> Result<> {
    const Field* f = type.find(key);
    if (!f || f->number() == 0 || value.type() == json::Type::null) return {};
    if (f->outer() == 0) return field(out, value, *f);
    inlined_number = f->outer();
    return field(inlined, value, *f);
  }));
  if (inlined_number != 0) wire::put_bytes(out, inlined_number, inlined);
  depth_--;
  return {};
}

Result<> Encoder::field(std::string& out, Cursor value, const Field& f) {
  if (f.shape() == Shape::map) return map(out, value, f);
  if (f.shape() == Shape::single) return element(out, value, f, f.number());
  return each(value, [&](std::string_view, Cursor item) { return element(out, item, f, f.number()); });
}

Result<> Encoder::map(std::string& out, Cursor value, const Field& f) {
  return each(value, [&](std::string_view key, Cursor item) -> Result<> {
    const size_t mark = out.size();
    wire::put_bytes(out, 1, key);
    CHECK_OK(element(out, item, f, 2));
    wire::wrap(out, mark, f.number());
    return {};
  });
}

Result<> Encoder::element(std::string& out, Cursor value, const Field& f, uint32_t number) {
  const size_t mark = out.size();
  switch (f.scalar()) {
    case Scalar::string:
      wire::put_bytes(out, number, value.str());
      return {};
    case Scalar::boolean:
      wire::put_number(out, number, value.boolean());
      return {};
    case Scalar::int32:
    case Scalar::int64:
      wire::put_number(out, number, static_cast<uint64_t>(value.integer()));
      return {};
    case Scalar::float64: {
      const double d = value.real();
      uint64_t bits = 0;
      memcpy(&bits, &d, sizeof bits);
      wire::put_fixed64(out, number, bits);
      return {};
    }
    case Scalar::bytes: {
      TRY(const std::string bytes, base64_decode(value.str()));
      wire::put_bytes(out, number, bytes);
      return {};
    }
    case Scalar::time:
    case Scalar::micro_time:
      return time(out, value, f, number);
    case Scalar::int_or_string:
      int_or_string(out, value, number);
      return {};
    case Scalar::object:
      CHECK_OK(message(out, value, *f.type()));
      break;
    case Scalar::quantity:
      wire::put_bytes(out, 1, value.type() == json::Type::string ? value.str() : std::string(value.raw()));
      break;
    case Scalar::raw:
    case Scalar::fields_v1:
      wire::put_bytes(out, 1, value.raw());
      break;
    case Scalar::strings:
      value.each([&](std::string_view, Cursor item) {
        wire::put_bytes(out, 1, item.str());
        return true;
      });
      break;
  }
  wire::wrap(out, mark, number);
  return {};
}

Result<> Encoder::time(std::string& out, Cursor value, const Field& f, uint32_t number) {
  auto t = parse_rfc3339(value.str());
  if (!t) return std::unexpected(std::move(t.error()).with(f.name()));
  const size_t mark = out.size();
  wire::put_number(out, 1, static_cast<uint64_t>(t->seconds));
  wire::put_number(out, 2, f.scalar() == Scalar::time ? 0 : static_cast<uint64_t>(t->nanos));
  wire::wrap(out, mark, number);
  return {};
}

void Encoder::int_or_string(std::string& out, Cursor value, uint32_t number) {
  const bool text = value.type() == json::Type::string;
  const size_t mark = out.size();
  wire::put_number(out, 1, text);
  wire::put_number(out, 2, static_cast<uint64_t>(text ? 0 : value.integer()));
  wire::put_bytes(out, 3, text ? value.str() : "");
  wire::wrap(out, mark, number);
}

}  // namespace

Result<std::string> encode_protobuf(Cursor object, const Type& type) {
  std::string out;
  CHECK_OK(Encoder().message(out, object, type));
  return out;
}

std::string seal_envelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
  std::string meta;
  wire::put_bytes(meta, 1, api_version);
  wire::put_bytes(meta, 2, kind);
  std::string out(kMagic);
  wire::put_bytes(out, 1, meta);
  wire::put_bytes(out, 2, raw);
  wire::put_bytes(out, 3, "");
  wire::put_bytes(out, 4, "");
  return out;
}

Result<std::string> encode_protobuf_object(Cursor object, const Type& type) {
  TRY(const std::string raw, encode_protobuf(object, type));
  return seal_envelope(object["apiVersion"].str(), object["kind"].str(), raw);
}

std::string encode_watch_frame(std::string_view event_type, std::string_view object) {
  std::string extension;
  wire::put_bytes(extension, 1, object);
  std::string event;
  wire::put_bytes(event, 1, event_type);
  wire::put_bytes(event, 2, extension);
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(event.size() >> shift);
  return out + event;
}

}  // namespace limpet::schema
