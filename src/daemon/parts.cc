#include "daemon/part.h"
#include "daemon/part_directories.h"

namespace limpet::daemon {

Parts make_parts(Device& device) {
  Parts parts;
  parts.push_back(make_directories_part(device));
  return parts;
}

}  // namespace limpet::daemon
