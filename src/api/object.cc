#include "api/object.h"

#include <charconv>

#include "schema/codec.h"

namespace limpet::api {
namespace {

constexpr std::string_view kMetadata = "\"metadata\":{";

// Appends an object text `{...}` with resourceVersion as its first member.
void append_meta(std::string& out, std::string_view meta, store::Revision rv) {
  if (rv <= 0) {
    out += meta;
    return;
  }
  out += "{\"resourceVersion\":\"";
  out += std::to_string(rv);
  out += '"';
  if (meta.size() > 2) {
    out += ',';
    out += meta.substr(1);
  } else {
    out += '}';
  }
}

}  // namespace

std::string key_root(const schema::Resource& r) {
  std::string out(r.plural());
  if (!r.group().empty()) out.append(".").append(r.group());
  return out;
}

std::string key_prefix(const schema::Resource& r, std::string_view ns) {
  std::string out = key_root(r) + "/";
  if (!ns.empty()) out.append(ns).append("/");
  return out;
}

std::string object_key(const schema::Resource& r, std::string_view ns, std::string_view name) {
  return key_prefix(r, r.namespaced() ? ns : std::string_view()).append(name);
}

std::string api_version(std::string_view group, std::string_view version) {
  std::string out(group);
  if (!out.empty()) out += '/';
  return out.append(version);
}

std::string canonical(const schema::Resource& r, json::Ref object) {
  if (json::Ref meta = object["metadata"]) meta.remove("resourceVersion");
  return schema::encode_canonical(object, *r.type());
}

void append_object(std::string& out, std::string_view stored, store::Revision rv) {
  size_t at = stored.find(kMetadata);
  if (at == std::string_view::npos || rv <= 0) {  // a dry run has no version
    out += stored;
    return;
  }
  at += kMetadata.size();
  out += stored.substr(0, at);
  out += "\"resourceVersion\":\"";
  out += std::to_string(rv);
  out += '"';
  if (at < stored.size() && stored[at] != '}') out += ',';
  out += stored.substr(at);
}

std::string with_version(std::string_view stored, store::Revision rv) {
  std::string out;
  out.reserve(stored.size() + 48);
  append_object(out, stored, rv);
  return out;
}

void append_partial(std::string& out, std::string_view stored, store::Revision rv, std::string_view version) {
  out += "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/";
  out += version;
  out += "\",\"metadata\":";
  std::string_view meta = json::Cursor(stored)["metadata"].raw();
  append_meta(out, meta.empty() ? "{}" : meta, rv);
  out += '}';
}

Result<store::Revision> parse_version(std::string_view text) {
  if (text.empty()) return 0;
  store::Revision v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc() || end != text.data() + text.size() || v < 0) {
    return fail(Errc::invalid_argument,
                "not a resource version: \"" + std::string(text.substr(0, 64)) + "\"");
  }
  return v;
}

Result<json::Value> parse_stored(std::string_view stored, store::Revision rv) {
  TRY(json::Value tree, json::parse(stored));
  if (rv) tree.ref().ensure_object("metadata").set("resourceVersion", std::to_string(rv));
  return tree;
}

Meta read_meta(std::string_view stored) {
  json::Cursor meta = json::Cursor(stored)["metadata"];
  Meta m;
  m.name = meta["name"].str();
  m.ns = meta["namespace"].str();
  m.uid = meta["uid"].str();
  m.deleting = static_cast<bool>(meta["deletionTimestamp"]);
  return m;
}

}  // namespace limpet::api
