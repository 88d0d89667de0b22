#include "api/encoder.h"

#include "api/object.h"
#include "base/json.h"
#include "schema/columns.h"

namespace limpet::api {
namespace {

void append_meta(std::string& out, const ListMeta& m) {
  json::Writer w;
  w.begin_object().field("resourceVersion", std::to_string(m.version));
  if (!m.continue_token.empty()) w.field("continue", m.continue_token);
  if (m.remaining > 0) w.field("remainingItemCount", m.remaining);
  w.end_object();
  out += w.text();
}

void append_column_definitions(std::string& out, const schema::Resource& r) {
  json::Writer w;
  w.begin_array();
  for (const schema::Column& c : r.columns()) {
    w.begin_object().field("name", c.name()).field("type", c.type()).field("format", c.format());
    w.field("description", c.doc()).field("priority", c.priority()).end_object();
  }
  w.end_array();
  out += w.text();
}

}  // namespace

std::string Encoder::content_type() const {
  switch (answer_.shape) {
    case Shape::object:
      return "application/json";
    case Shape::table:
      return "application/json;as=Table;g=meta.k8s.io;v=" + answer_.version;
    case Shape::partial:
      return "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=" + answer_.version;
    case Shape::partial_list:
      return "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=" + answer_.version;
  }
  return "application/json";
}

void Encoder::row(std::string& out, std::string_view stored, store::Revision rv) const {
  out += "{\"cells\":";
  json::Writer cells;
  schema::write_cells(resource_, json::Cursor(stored), now_, cells);
  out += cells.text();
  if (answer_.include == Answer::Include::metadata) {
    out += ",\"object\":";
    append_partial(out, stored, rv, answer_.version);
  } else if (answer_.include == Answer::Include::object) {
    out += ",\"object\":";
    append_object(out, stored, rv);
  }
  out += '}';
}

void Encoder::table(std::string& out, std::string_view stored, store::Revision rv, bool columns) const {
  out += "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/" + answer_.version + "\",\"metadata\":";
  append_meta(out, {rv, "", -1});
  out += ",\"columnDefinitions\":";
  if (columns) {
    append_column_definitions(out, resource_);
  } else {
    out += "null";
  }
  out += ",\"rows\":[";
  if (!stored.empty()) row(out, stored, rv);
  out += "]}";
}

std::string Encoder::object(std::string_view stored, store::Revision rv) const {
  std::string out;
  out.reserve(stored.size() + 64);
  if (answer_.shape == Shape::table) {
    table(out, stored, rv, true);
  } else {
    item(out, stored, rv);
  }
  return out;
}

std::string Encoder::list_head() const {
  switch (answer_.shape) {
    case Shape::object:
      return "{\"kind\":\"" + std::string(resource_.kind()) + "List\",\"apiVersion\":\"" +
             api_version(resource_.group(), resource_.version()) + "\",\"items\":[";
    case Shape::table: {
      std::string out =
          "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/" + answer_.version + "\",\"columnDefinitions\":";
      append_column_definitions(out, resource_);
      return out + ",\"rows\":[";
    }
    default:
      return "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/" + answer_.version +
             "\",\"items\":[";
  }
}

void Encoder::item(std::string& out, std::string_view stored, store::Revision rv) const {
  switch (answer_.shape) {
    case Shape::object:
      append_object(out, stored, rv);
      break;
    case Shape::table:
      row(out, stored, rv);
      break;
    default:
      append_partial(out, stored, rv, answer_.version);
      break;
  }
}

std::string Encoder::list_tail(const ListMeta& meta) const {
  std::string out = "],\"metadata\":";
  append_meta(out, meta);
  return out + "}";
}

void Encoder::event(std::string& out, std::string_view type, std::string_view stored, store::Revision rv) {
  out += "{\"type\":\"";
  out += type;
  out += "\",\"object\":";
  if (answer_.shape == Shape::table) {
    table(out, stored, rv, !columns_sent_);
    columns_sent_ = true;
  } else {
    item(out, stored, rv);
  }
  out += "}\n";
}

void Encoder::bookmark(std::string& out, store::Revision rv, bool initial_events_end) const {
  json::Writer meta;
  meta.begin_object().field("resourceVersion", std::to_string(rv)).key("creationTimestamp").null();
  if (initial_events_end) {
    meta.key("annotations").begin_object().field("k8s.io/initial-events-end", "true").end_object();
  }
  meta.end_object();
  out += "{\"type\":\"BOOKMARK\",\"object\":{";
  switch (answer_.shape) {
    case Shape::object:
      out += "\"kind\":\"" + std::string(resource_.kind()) + "\",\"apiVersion\":\"" +
             api_version(resource_.group(), resource_.version()) + "\",\"metadata\":" + meta.text();
      break;
    case Shape::table: {
      // A Table carries the annotation in the object of its row, where clients look for it.
      out += "\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/" + answer_.version + "\",\"metadata\":";
      append_meta(out, {rv, "", -1});
      out +=
          ",\"columnDefinitions\":null,\"rows\":[{\"cells\":[],\"object\":{\"kind\":"
          "\"PartialObjectMetadata\","
          "\"apiVersion\":\"meta.k8s.io/" +
          answer_.version + "\",\"metadata\":" + meta.text() + "}}]";
      break;
    }
    default:
      out += "\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/" + answer_.version +
             "\",\"metadata\":" + meta.text();
  }
  out += "}}\n";
}

}  // namespace limpet::api
