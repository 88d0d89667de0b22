#include "daemon/denied.h"

namespace limpet::daemon {
namespace {
constexpr const char* prefix = "limpet/denied/";
}  // namespace

Denied::Denied(loop::Loop& loop, store::Space& space, loop::Task changed)
    : mirror_(loop, space, prefix, std::move(changed)) {}

}  // namespace limpet::daemon
