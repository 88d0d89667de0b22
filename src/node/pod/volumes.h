// The volumes of a pod: what each one holds is computed (pure), then made on disk (blocking, on the pool).
//
// emptyDir lives below the data directory (it survives a reboot with its pod) or, medium Memory, as a tmpfs
// of its own; configMap, secret, downwardAPI and projected volumes are written below the runtime directory,
// which is tmpfs, so that no secret reaches flash (volume_files.h).
// https://kubernetes.io/docs/concepts/storage/volumes/
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/pod/env.h"
#include "node/pod/spec.h"

namespace limpet::node {

struct VolumeFile {
  std::string path;  // relative, without ".."
  std::string bytes;
  uint32_t mode = 0644;
  bool operator==(const VolumeFile&) const = default;
};

struct VolumePlan {
  enum class Kind { empty_dir, memory, host_path, files } kind = Kind::empty_dir;
  std::string name;
  int64_t size_limit = 0;      // memory
  std::string host_path;       // host_path
  std::string host_path_type;  // "", DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice,
                               // BlockDevice
  std::vector<VolumeFile> files;
  int64_t fs_group = -1;
};

// Errors name the volume as `kubectl describe` shows it: MountVolume.SetUp failed for volume "v" : configmap
// "x" not found
Result<std::vector<VolumePlan>> plan_volumes(const PodSpec& pod, const DownwardFacts& facts,
                                             const FindObject& find);

struct VolumeDirs {
  std::string data;  // <dataDir>/pods/<uid>/volumes
  std::string run;   // <runDir>/volumes/<uid>
};

// Makes what is missing and brings files up to date; returns the host path of each volume. Blocking.
Result<std::map<std::string, std::string>> make_volumes(const std::vector<VolumePlan>& plans,
                                                        const VolumeDirs& dirs);
// Unmounts and deletes everything below the two directories, never following a link. Blocking, idempotent.
Result<> remove_volumes(const VolumeDirs& dirs);

// A serviceAccountToken of a projected volume, to be had from the API before the volumes are planned.
struct TokenWish {
  std::string volume, audience;  // audience "": the API's own
  int64_t expiration_s = 3600;
  // find("tokens", name()) gives it to plan_volumes().
  std::string name() const { return std::to_string(expiration_s) + "/" + audience; }
};
std::vector<TokenWish> wished_tokens(json::Cursor pod);

// Whether a volume of the pod's spec holds files that the device writes (configMap, secret, projected,
// downwardAPI). Containers see them read-only, whatever their mount says, and they follow their source.
bool holds_written_files(json::Cursor volume);

// ConfigMaps and Secrets that the pod mentions anywhere (env, volumes, pull secrets), as "configmaps/NAME".
std::vector<std::string> mentioned_objects(json::Cursor pod);

}  // namespace limpet::node
