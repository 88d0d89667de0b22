// Objects of the API as protobuf: what typed clients (kubectl create, helm's release records) send, and may
// be answered.
//
// Messages follow upstream's generated.proto files by the numbers in the schema tables. Bytes from outside
// are hostile: lengths, nesting (64) and UTF-8 are checked, unknown fields are skipped, strings with NUL are
// refused (JSON bodies may not hold them either). Source:
// https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "schema/types.h"

namespace limpet::schema {

// The wrapper of every object on the wire: "k8s\0" and the message runtime.Unknown. Views into the body.
struct Envelope {
  std::string_view api_version, kind;
  std::string_view raw;               // the object's own message
  std::string_view content_encoding;  // "" unless the sender did something odd
  std::string_view content_type;
};

bool is_enveloped(std::string_view body);
Result<Envelope> open_envelope(std::string_view body);
std::string seal_envelope(std::string_view api_version, std::string_view kind, std::string_view raw);

// The message of an object as a tree. Fields without a pointer in Go are written even when they mean nothing:
// their zeros come out as absent (unless required), just as from decode_json. apiVersion and kind are in the
// envelope, not here.
Result<json::Value> decode_protobuf(std::string_view message, const Type& type);

// A whole body: envelope, then message, with apiVersion and kind put in front. The caller picked the type by
// the envelope's kind.
Result<json::Value> decode_protobuf_object(const Envelope& envelope, const Type& type);

// Stored bytes as a message; apiVersion and kind are left out, unknown fields too.
Result<std::string> encode_protobuf(json::Cursor object, const Type& type);
// In its envelope: what a GET answers. apiVersion and kind are taken from the object.
Result<std::string> encode_protobuf_object(json::Cursor object, const Type& type);

// One element of a watch stream: length (4 bytes, big endian) and WatchEvent{type, object}. `object` is
// enveloped.
std::string encode_watch_frame(std::string_view event_type, std::string_view object);

}  // namespace limpet::schema
