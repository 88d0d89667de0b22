#include "daemon/parts.h"

namespace limpet::daemon {
namespace {

// A device that only runs pods: no store, no API server, nobody let in from outside.
Parts make_agent_parts(Device& device) {
  Parts parts;
  parts.push_back(make_directories_part(device));
  parts.push_back(make_join_part(device));  // which cluster it is of
  parts.push_back(make_identity_part(device));
  parts.push_back(make_local_part(device));
  parts.push_back(make_remote_part(device));  // the API, from the servers
  parts.push_back(make_images_part(device));
  parts.push_back(make_node_part(device));
  parts.push_back(make_agent_link_part(device));  // lets the servers reach the node
  parts.push_back(make_listeners_part(device));   // the unix socket
  return parts;
}

}  // namespace

Parts make_parts(Device& device) {
  if (device.config.role == "agent") return make_agent_parts(device);
  Parts parts;
  parts.push_back(make_directories_part(device));  // and the lock: nobody else works on dataDir
  parts.push_back(make_join_part(device));         // which cluster it is of
  parts.push_back(make_store_part(device));        // raises the clock's floor
  parts.push_back(make_identity_part(device));     // needs the time
  parts.push_back(make_peers_part(device));        // the group of several finds its leader
  parts.push_back(make_events_part(device));       // saves what the API and the node said to the last
  parts.push_back(make_api_part(device));
  parts.push_back(make_client_part(device));   // the API, as this device
  parts.push_back(make_local_part(device));    // what the limpet command asks for; later parts add to it
  parts.push_back(make_cluster_part(device));  // devices that join and leave
  parts.push_back(make_backup_part(device));
  parts.push_back(make_scheduler_part(device));
  parts.push_back(make_controllers_part(device));
  parts.push_back(make_images_part(device));
  parts.push_back(make_nodes_part(device));      // the way to the containers of other devices
  parts.push_back(make_node_part(device));       // runs pods: needs API and images
  parts.push_back(make_listeners_part(device));  // nobody is let in before everything else stands
  return parts;
}

}  // namespace limpet::daemon
