#include "daemon/parts.h"

namespace limpet::daemon {

Parts make_parts(Device& device) {
  Parts parts;
  parts.push_back(make_directories_part(device));  // and the lock: nobody else works on dataDir
  parts.push_back(make_store_part(device));        // raises the clock's floor
  parts.push_back(make_identity_part(device));     // needs the time
  parts.push_back(make_events_part(device));       // saves what the API and the node said to the last
  parts.push_back(make_api_part(device));
  parts.push_back(make_local_part(device));  // what the limpet command asks for; later parts add to it
  parts.push_back(make_backup_part(device));
  parts.push_back(make_scheduler_part(device));
  parts.push_back(make_controllers_part(device));
  parts.push_back(make_images_part(device));
  parts.push_back(make_node_part(device));       // runs pods: needs API and images
  parts.push_back(make_listeners_part(device));  // nobody is let in before everything else stands
  return parts;
}

}  // namespace limpet::daemon
