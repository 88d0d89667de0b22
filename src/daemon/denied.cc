#include "daemon/denied.h"

namespace limpet::daemon {

Denied::Denied(loop::Loop& loop, store::Space& space, loop::Task changed)
    : mirror_(loop, space, std::string(cluster::denied_prefix), std::move(changed)) {}

}  // namespace limpet::daemon
