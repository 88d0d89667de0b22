// Any bytes: the validator, the tree and the cursor agree, and what is printed reads back as the same value.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/json.h"

using namespace limpet;

namespace {

void require(bool condition) {
  if (!condition) abort();
}

void walk(const json::Cursor& c, int depth) {
  require(depth < 200);
  (void)c.str();
  (void)c.integer();
  (void)c.real();
  c.each([&](std::string_view, const json::Cursor& value) {
    walk(value, depth + 1);
    return true;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool valid = json::validate(text).has_value();
  auto value = json::parse(text);
  require(valid == value.has_value());
  if (valid) {
    walk(json::Cursor(text), 0);
    const std::string dumped = value->ref().dump();
    auto again = json::parse(dumped);
    require(again.has_value() && again->ref().equals(*value) && again->ref().dump() == dumped);
    require(json::Cursor(text).size() == value->ref().size());
  } else {
    // The cursor is for valid text, but must survive anything.
    const json::Cursor c(text);
    (void)c["a"]["b"].at(1).str();
    (void)c.size();
  }
  (void)json::parse(text, {.allow_duplicates = true});
  require(json::validate(json::quoted(text.substr(0, text.find('\0')))).has_value());
  return 0;
}
