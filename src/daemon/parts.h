// The parts, one file each (part_NAME.cc). parts.cc puts them in order.
#pragma once

#include "daemon/part.h"

namespace limpet::daemon {

std::unique_ptr<Part> make_directories_part(Device& device);
std::unique_ptr<Part> make_join_part(Device& device);
std::unique_ptr<Part> make_store_part(Device& device);
std::unique_ptr<Part> make_identity_part(Device& device);
std::unique_ptr<Part> make_peers_part(Device& device);
std::unique_ptr<Part> make_events_part(Device& device);
std::unique_ptr<Part> make_api_part(Device& device);
std::unique_ptr<Part> make_client_part(Device& device);
std::unique_ptr<Part> make_remote_part(Device& device);
std::unique_ptr<Part> make_agent_link_part(Device& device);
std::unique_ptr<Part> make_local_part(Device& device);
std::unique_ptr<Part> make_cluster_part(Device& device);
std::unique_ptr<Part> make_backup_part(Device& device);
std::unique_ptr<Part> make_scheduler_part(Device& device);
std::unique_ptr<Part> make_controllers_part(Device& device);
std::unique_ptr<Part> make_images_part(Device& device);
std::unique_ptr<Part> make_nodes_part(Device& device);
std::unique_ptr<Part> make_node_part(Device& device);
std::unique_ptr<Part> make_listeners_part(Device& device);

}  // namespace limpet::daemon
