// The samples in data/protobuf were made by a Go program with k8s.io/api: each .hex is what its serializer
// wrote for the object whose encoding/json form is the .json beside it. "full" samples set every field that
// Go knows.
#include <dirent.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "schema/codec.h"
#include "schema/protobuf.h"
#include "schema/protobuf_wire.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

const std::string kDir = std::string(SCHEMA_TEST_DATA) + "/protobuf/";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string from_hex(std::string_view text) {
  std::string out;
  for (size_t i = 0; i + 1 < text.size() && text[i] != '\n'; i += 2) {
    out += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return out;
}

std::vector<std::string> samples() {
  std::vector<std::string> out;
  DIR* dir = opendir(kDir.c_str());
  REQUIRE(dir);
  while (dirent* e = readdir(dir)) {
    const std::string name = e->d_name;
    if (name.ends_with(".hex")) out.push_back(name.substr(0, name.size() - 4));
  }
  closedir(dir);
  std::ranges::sort(out);
  return out;
}

// Go writes structs that are no pointers even when they are empty; to compare, they go.
void prune(json::Ref node, const Type& type) {
  for (const Field& field : type.fields()) {
    if (field.scalar() != Scalar::object) continue;
    json::Ref value = node[field.name()];
    if (!value) continue;
    if (field.shape() == Shape::single) {
      prune(value, *field.type());
      if (value.size() == 0 && !field.pointer()) node.remove(field.name());
    } else {
      for (json::Ref item : value) prune(item, *field.type());
    }
  }
}

std::string canonical(json::Value object, const Type& type) {
  prune(object, type);
  return encode_canonical(object, type);
}

const Type& type_of(const Envelope& e) {
  const Type* type = find_kind_type(e.api_version, e.kind);
  REQUIRE(type);
  return *type;
}

const Type& pod() { return *find_type("io.k8s.api.core.v1.Pod"); }

std::string error_of(std::string_view message, const Type& type) {
  auto r = decode_protobuf(message, type);
  return r ? "decoded" : r.error().message;
}

}  // namespace

TEST_CASE("what Go wrote as protobuf and as JSON is the same object") {
  REQUIRE(samples().size() >= 20);
  for (const std::string& name : samples()) {
    CAPTURE(name);
    const std::string body = from_hex(read_file(kDir + name + ".hex"));
    auto envelope = open_envelope(body);
    REQUIRE(envelope);
    const Type& type = type_of(*envelope);
    auto from_protobuf = decode_protobuf_object(*envelope, type);
    REQUIRE(from_protobuf);
    auto from_json = decode_json(read_file(kDir + name + ".json"), type);
    REQUIRE_MESSAGE(from_json, from_json.error().message);
    CHECK(from_json->problems.empty());
    const std::string want = canonical(std::move(from_json->object), type);
    CHECK(canonical(std::move(*from_protobuf), type) == want);

    // And back: what we encode decodes to the same again.
    auto encoded = encode_protobuf_object(json::Cursor(want), type);
    REQUIRE(encoded);
    auto again = open_envelope(*encoded);
    REQUIRE(again);
    CHECK(again->kind == envelope->kind);
    auto object = decode_protobuf_object(*again, type);
    REQUIRE(object);
    CHECK(canonical(std::move(*object), type) == want);
  }
}

TEST_CASE("every cut of a body is an error or an object, never a crash") {
  const std::string body = from_hex(read_file(kDir + "typical-Pod.hex"));
  for (size_t n = 0; n < body.size(); n++) {
    auto envelope = open_envelope(std::string_view(body).substr(0, n));
    if (envelope) (void)decode_protobuf_object(*envelope, pod());
  }
  const std::string raw(open_envelope(body)->raw);
  size_t errors = 0;
  for (size_t n = 0; n < raw.size(); n++)
    errors += !decode_protobuf(std::string_view(raw).substr(0, n), pod());
  CHECK(errors > raw.size() / 2);
}

TEST_CASE("hostile messages are refused by name") {
  std::string spec;
  wire::put_bytes(spec, 10, "\xff");
  std::string message;
  wire::put_bytes(message, 2, spec);
  CHECK(error_of(message, pod()) == "protobuf: field nodeName is not valid UTF-8 text");

  spec.clear(), message.clear();
  wire::put_bytes(spec, 10, std::string_view("a\0b", 3));
  wire::put_bytes(message, 2, spec);
  CHECK(error_of(message, pod()) == "protobuf: field nodeName is not valid UTF-8 text");

  spec.clear(), message.clear();
  wire::put_number(spec, 25, 1ULL << 40);
  wire::put_bytes(message, 2, spec);
  CHECK(error_of(message, pod()) == "protobuf: field priority is out of the range of int32");

  CHECK(error_of(std::string_view("\x0a\x7f", 2), pod()) == "protobuf: a length reaches beyond the message");
  CHECK(error_of(std::string_view("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), pod()) ==
        "protobuf: a length reaches beyond the message");
  CHECK(error_of(std::string_view("\x0b", 1), pod()) == "protobuf: unknown wire type");
  CHECK(error_of(std::string_view("\x00", 1), pod()) == "protobuf: illegal field number");
  CHECK(error_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", pod()) ==
        "protobuf: a number is longer than 64 bits");
  CHECK(error_of(std::string_view("\x10\x01", 2), pod()) == "protobuf: field spec has the wrong wire type");
  spec.clear(), message.clear();
  for (int i = 0; i < 25000; i++) wire::put_bytes(spec, 2, "");
  wire::put_bytes(message, 2, spec);
  CHECK(error_of(message, pod()) == "more than 20000 nested objects");
  CHECK_FALSE(open_envelope("k8s"));
  CHECK_FALSE(open_envelope("{}"));
}

TEST_CASE("unknown fields are skipped, messages that come twice are merged, packed lists are read") {
  std::string message, spec;
  wire::put_number(spec, 4000, 7);
  wire::put_bytes(spec, 4001, "x");
  wire::put_fixed64(spec, 4002, 1);
  wire::put_bytes(spec, 10, "n");
  wire::put_bytes(message, 2, spec);
  spec.clear();
  wire::put_bytes(spec, 16, "h");
  std::string groups;
  wire::put_varint(groups, 5);
  wire::put_varint(groups, 300);
  std::string security;
  wire::put_bytes(security, 4, groups);
  wire::put_bytes(spec, 14, security);
  wire::put_bytes(message, 2, spec);
  auto object = decode_protobuf(message, pod());
  REQUIRE(object);
  CHECK(encode_canonical(*object, pod()) ==
        R"({"spec":{"nodeName":"n","securityContext":{"supplementalGroups":[5,300]},"hostname":"h"}})");
}

TEST_CASE("a watch frame has its length before it") {
  const std::string frame = encode_watch_frame("ADDED", "k8s");
  CHECK(frame == std::string("\0\0\0\x0e\x0a\x05"
                             "ADDED\x12\x05\x0a\x03k8s",
                             18));
}

TEST_CASE("UTF-8") {
  for (const char* good :
       {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x9a", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    CHECK(wire::is_text(good));
  }
  for (const char* bad : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff"}) {
    CHECK_FALSE(wire::is_text(bad));
  }
}
