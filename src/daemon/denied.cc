#include "daemon/denied.h"

namespace limpet::daemon {
namespace {
constexpr const char* prefix = "limpet/denied/";
}  // namespace

std::string denied_key(std::string_view spki_sha256) { return prefix + std::string(spki_sha256); }

Denied::Denied(loop::Loop& loop, store::Space& space, loop::Task changed)
    : mirror_(loop, space, prefix, std::move(changed)) {}

}  // namespace limpet::daemon
