#include "api/pod_mentions.h"

namespace limpet::api {
namespace {

using Sink = std::function<void(Mention, const std::string&)>;

void tell(const Sink& f, Mention what, json::Cursor name) {
  if (std::string text = name.str(); !text.empty()) f(what, text);
}

void of_container(json::Cursor container, const Sink& f) {
  container["envFrom"].each([&](std::string_view, json::Cursor from) {
    tell(f, Mention::secret, from["secretRef"]["name"]);
    tell(f, Mention::config_map, from["configMapRef"]["name"]);
    return true;
  });
  container["env"].each([&](std::string_view, json::Cursor variable) {
    json::Cursor from = variable["valueFrom"];
    tell(f, Mention::secret, from["secretKeyRef"]["name"]);
    tell(f, Mention::config_map, from["configMapKeyRef"]["name"]);
    return true;
  });
}

// Volumes that keep how to get at them in a secret of the pod's namespace.
struct Source {
  std::string_view volume, member;
};
constexpr Source kSecretSources[] = {
    {"cephfs", "secretRef"},     {"cinder", "secretRef"},    {"csi", "nodePublishSecretRef"},
    {"flexVolume", "secretRef"}, {"iscsi", "secretRef"},     {"rbd", "secretRef"},
    {"scaleIO", "secretRef"},    {"storageos", "secretRef"},
};

void of_volume(json::Cursor volume, const Sink& f) {
  tell(f, Mention::secret, volume["secret"]["secretName"]);
  tell(f, Mention::config_map, volume["configMap"]["name"]);
  tell(f, Mention::secret, volume["azureFile"]["secretName"]);
  for (const Source& s : kSecretSources) tell(f, Mention::secret, volume[s.volume][s.member]["name"]);
  volume["projected"]["sources"].each([&](std::string_view, json::Cursor source) {
    tell(f, Mention::secret, source["secret"]["name"]);
    tell(f, Mention::config_map, source["configMap"]["name"]);
    return true;
  });
}

}  // namespace

bool is_mirror_pod(json::Cursor pod) {
  return static_cast<bool>(pod["metadata"]["annotations"]["kubernetes.io/config.mirror"]);
}

void each_mention(json::Cursor pod, const Sink& f) {
  if (is_mirror_pod(pod)) return;
  json::Cursor spec = pod["spec"];
  tell(f, Mention::service_account, spec["serviceAccountName"]);
  spec["imagePullSecrets"].each([&](std::string_view, json::Cursor s) {
    tell(f, Mention::secret, s["name"]);
    return true;
  });
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"}) {
    spec[list].each([&](std::string_view, json::Cursor c) {
      of_container(c, f);
      return true;
    });
  }
  spec["volumes"].each([&](std::string_view, json::Cursor v) {
    of_volume(v, f);
    return true;
  });
}

}  // namespace limpet::api
