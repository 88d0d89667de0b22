// Images from an archive: an OCI image layout or what `docker save` writes, as a tar file, plain or
// compressed.
//
// The archive is unpacked by the locked-down child first; here only its small documents are read and its
// blobs verified and taken over. Sources: image-spec image-layout.md; Docker's image archive (manifest.json
// of image-spec v1.2 in moby). Archives of Docker before 1.10, which have only `repositories`, are refused by
// name.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "image/manifest.h"
#include "image/store.h"

namespace limpet::image {

struct ArchivedImage {
  Image image;
  std::vector<bool> intact;        // per layer: whether the store has it, with all its contents
  std::vector<std::string> files;  // per layer: what it is called in the archive
};
// Takes what is in `directory` (an unpacked archive on the store's file system) into the store and says which
// images there were, ready to have their layers made. Blocking; for the pool. Errors name the file.
Result<std::vector<ArchivedImage>> take_archive(const Store& store, const std::string& directory,
                                                const Platform& host);

}  // namespace limpet::image
