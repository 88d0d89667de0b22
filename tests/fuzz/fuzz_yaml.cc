// Any bytes: the YAML reader ends with a value or an error that names a place; a value survives a dump.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/yaml.h"

using namespace limpet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto documents = yaml::parse(text, {.max_documents = 8});
  if (!documents) {
    if (!documents.error().message.starts_with("line ")) abort();
    return 0;
  }
  for (const yaml::Node& node : *documents) {
    const json::Value value = yaml::to_json(node);
    const std::string dumped = yaml::dump(value);
    auto again = yaml::parse(dumped);
    if (!again || again->size() != 1) abort();
    if (yaml::to_json(again->front()).ref().dump() != value.ref().dump()) abort();
  }
  return 0;
}
