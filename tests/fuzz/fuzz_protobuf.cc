// Any bytes as a protobuf body: no crash, and an object that decodes encodes to something that decodes to the
// same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "schema/codec.h"
#include "schema/protobuf.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

void require(bool condition) {
  if (!condition) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  auto envelope = open_envelope(body);
  if (!envelope) return 0;
  const Type* type = find_kind_type(envelope->api_version, envelope->kind);
  if (!type) return 0;
  auto object = decode_protobuf_object(*envelope, *type);
  if (!object) return 0;
  // Bodies go on as JSON trees do; whatever protobuf let through, JSON's decoder takes too.
  const std::string text = encode_canonical(*object, *type);
  auto decoded = decode_json(text, *type);
  require(decoded.has_value() && decoded->problems.empty());
  auto bytes = encode_protobuf_object(json::Cursor(text), *type);
  require(bytes.has_value());
  auto again = open_envelope(*bytes);
  require(again.has_value());
  auto second = decode_protobuf_object(*again, *type);
  require(second.has_value());
  auto third = decode_json(encode_canonical(*second, *type), *type);
  require(third.has_value());
  require(encode_canonical(third->object, *type) == encode_canonical(decoded->object, *type));
  apply_defaults(decoded->object, *type);
  return 0;
}
