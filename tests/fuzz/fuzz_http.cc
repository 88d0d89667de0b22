// Requests and responses: no crash, and the same verdict whole and in two pieces.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/parser.h"

using limpet::http::Parser;

namespace {

std::string run(Parser::Kind kind, std::string_view first, std::string_view second) {
  Parser parser(kind);
  std::string out;
  for (std::string_view part : {first, second}) {
    for (bool more = true; more;) {
      switch (parser.next(part)) {
        case Parser::Step::need_more:
          more = false;
          break;
        case Parser::Step::head:
          out += "head " + parser.head().target + " " + std::to_string(parser.head().status) + "\n";
          for (const auto& h : parser.head().headers.list()) out += h.name + ":" + h.value + "\n";
          out += "body ";
          break;
        case Parser::Step::body:
          out += parser.body();
          break;
        case Parser::Step::complete:
          out += "complete\n";
          break;
        case Parser::Step::error:
          return out + "error " + std::to_string(parser.error_status());
      }
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto kind = (data[0] & 1) != 0 ? Parser::Kind::response : Parser::Kind::request;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = bytes.empty() ? 0 : static_cast<size_t>(data[1]) * bytes.size() / 255;
  if (run(kind, bytes, {}) != run(kind, bytes.substr(0, cut), bytes.substr(cut))) abort();
  std::string path;
  limpet::http::Query query;
  if (limpet::http::split_target(bytes, &path, &query) && !path.starts_with('/')) abort();
  return 0;
}
