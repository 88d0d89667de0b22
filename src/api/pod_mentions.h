// What a pod names of other objects of its namespace, so that whoever runs the pod must be able to read it:
// secrets, config maps and its service account. Pure, over stored bytes.
//
// After upstream's VisitPodSecretNames and VisitPodConfigmapNames
// (https://github.com/kubernetes/kubernetes/blob/master/pkg/api/pod/util.go).
#pragma once

#include <functional>
#include <string>

#include "base/json.h"

namespace limpet::api {

enum class Mention : uint8_t { pod, secret, config_map, service_account };

// Of nothing: a mirror pod. It is made by the device itself, which must not open doors with it.
bool is_mirror_pod(json::Cursor pod);
// Calls f for each name, perhaps several times for one.
void each_mention(json::Cursor pod, const std::function<void(Mention, const std::string& name)>& f);

}  // namespace limpet::api
