#include "http/parser_library.h"

#ifdef LIMPET_LLHTTP
#include <llhttp.h>
#else
#include <http_parser.h>
#endif

namespace limpet::http {
namespace {

#ifdef LIMPET_LLHTTP
using Library = llhttp_t;
using Settings = llhttp_settings_t;
#else
using Library = http_parser;
using Settings = http_parser_settings;
#endif

// Where the callbacks put things. The library may hand over one string in several pieces.
struct Sink {
  MessageHead* head;
  bool complete = false;
  bool in_value = false;
};

Sink& sink_of(Library* library) { return *static_cast<Sink*>(library->data); }

int on_url(Library* library, const char* at, size_t size) noexcept {
  sink_of(library).head->target.append(at, size);
  return 0;
}

int on_field(Library* library, const char* at, size_t size) noexcept {
  Sink& sink = sink_of(library);
  if (sink.in_value || sink.head->headers.list().empty()) {
    sink.head->headers.add(std::string(at, size), "");
    sink.in_value = false;
  } else {
    sink.head->headers.last().name.append(at, size);
  }
  return 0;
}

int on_value(Library* library, const char* at, size_t size) noexcept {
  Sink& sink = sink_of(library);
  if (!sink.head->headers.list().empty()) sink.head->headers.last().value.append(at, size);
  sink.in_value = true;
  return 0;
}

#ifdef LIMPET_LLHTTP
// llhttp may leave out on_header_value for an empty value (http-parser calls it with size 0): the next field
// must still start a new header.
int on_value_end(Library* library) noexcept {
  sink_of(library).in_value = true;
  return 0;
}
#endif

int on_complete(Library* library) noexcept {
  sink_of(library).complete = true;
  return 0;
}

Settings make_settings() {
  Settings settings{};
  settings.on_url = on_url;
  settings.on_header_field = on_field;
  settings.on_header_value = on_value;
  settings.on_headers_complete = on_complete;
#ifdef LIMPET_LLHTTP
  settings.on_header_value_complete = on_value_end;
#endif
  return settings;
}

}  // namespace

const char* read_head_section(std::string_view section, Parser::Kind kind, MessageHead* head) {
  static const Settings settings = make_settings();
  Sink sink{head};
  Library library;
#ifdef LIMPET_LLHTTP
  llhttp_init(&library, kind == Parser::Kind::request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  library.data = &sink;
  const llhttp_errno_t status = llhttp_execute(&library, section.data(), section.size());
  if (status != HPE_OK && status != HPE_PAUSED_UPGRADE) {
    const char* reason = llhttp_get_error_reason(&library);
    return reason != nullptr && *reason != '\0' ? "malformed header section" : llhttp_errno_name(status);
  }
  if (kind == Parser::Kind::request)
    head->method = llhttp_method_name(static_cast<llhttp_method_t>(library.method));
#else
  http_parser_init(&library, kind == Parser::Kind::request ? HTTP_REQUEST : HTTP_RESPONSE);
  library.data = &sink;
  http_parser_execute(&library, &settings, section.data(), section.size());
  if (HTTP_PARSER_ERRNO(&library) != HPE_OK) return http_errno_description(HTTP_PARSER_ERRNO(&library));
  if (kind == Parser::Kind::request) head->method = http_method_str(static_cast<http_method>(library.method));
#endif
  if (!sink.complete) return "incomplete header section";
  if (kind == Parser::Kind::response) head->status = library.status_code;
  head->minor_version = library.http_minor;
  for (Header& header : head->headers.mutable_list()) {  // http-parser keeps trailing white space
    while (header.value.ends_with(' ') || header.value.ends_with('\t')) header.value.pop_back();
  }
  return nullptr;
}

}  // namespace limpet::http
