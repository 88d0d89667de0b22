// Patches, selectors and quantities from hostile bytes. The first byte chooses; a patch is split from its
// object at the first newline. What comes out of a patch is JSON that the reader takes, within its depth and
// without doubles; a merge patch that is applied twice changes nothing the second time.
#include <cstddef>
#include <cstdint>

#include "schema/apply.h"
#include "schema/patch_json.h"
#include "schema/patch_merge.h"
#include "schema/patch_strategic.h"
#include "schema/quantity.h"
#include "schema/selector.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

void check(const json::Value& result) {
  auto again = json::parse(result.ref().dump());
  if (!again || !again->ref().equals(result) || !result.ref().equals(*again)) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const uint8_t choice = data[0] % 7;
  if (choice == 0) {
    if (auto q = Quantity::parse(text); q && !Quantity::parse(q->str())) __builtin_trap();
    return 0;
  }
  if (choice == 1) {
    if (auto s = LabelSelector::parse(text); s && !LabelSelector::parse(s->str())) __builtin_trap();
    return 0;
  }
  if (choice == 2) {
    const std::string_view fields[] = {"spec.nodeName", "status.phase"};
    if (auto s = FieldSelector::parse(text, fields, nullptr)) s->matches(json::Cursor("{}"));
    return 0;
  }
  const size_t cut = text.find('\n');
  if (cut == std::string_view::npos) return 0;
  auto object = json::parse(text.substr(0, cut)), patch = json::parse(text.substr(cut + 1));
  if (!object || !patch) return 0;
  const Type& pod = *find_type("io.k8s.api.core.v1.Pod");
  if (choice == 3) {
    if (auto result = apply_json_patch(std::move(*object), *patch)) check(*result);
  } else if (choice == 4) {
    const json::Value result = apply_merge_patch(std::move(*object), *patch);
    check(result);
    if (!apply_merge_patch(result.ref().clone(), *patch).ref().equals(result)) __builtin_trap();
  } else if (choice == 5) {
    if (auto result = apply_strategic_patch(std::move(*object), *patch, pod)) check(*result);
  } else if (object->ref().is_object()) {
    if (auto result = apply(pod, *object, std::move(*patch), {"m", "v1", ""}, true, WallTime{}))
      check(*result);
  }
  return 0;
}
