// A restored state on its way into dataDir: put together in a directory beside its places, which counts for
// nothing until it is complete, and is moved to its places after that, again after a power cut if need be.
//
//   dataDir/restore.staged/limpet.db, pki/*, complete
//
// Blocking; the caller holds the lock on dataDir.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::backup {

struct Places {
  std::string data_dir;    // "/var/lib/limpet"
  std::string store_file;  // in it: "/var/lib/limpet/limpet.db"
  std::string pki_dir;     // "/var/lib/limpet/pki"
};

class Staged {
 public:
  // What an earlier try left goes. already_exists: dataDir holds a store, or is that of a cluster's device.
  static Result<Staged> begin(Places places);
  ~Staged();  // what was not completed is removed
  Staged(Staged&& other) noexcept;

  std::string store_file() const;
  // A file of the identity, mode 0600. already_exists: dataDir has another one of that name.
  Result<> put(std::string_view name, std::string_view bytes);
  // From here on it is the state of dataDir, whatever happens: moves everything to its place.
  Result<> complete();

 private:
  explicit Staged(Places places) : places_(std::move(places)) {}
  Places places_;
  bool owned_ = true;
};

// For the start of limpetd, and complete(): goes on with a move that was cut, takes away what was not
// complete.
Result<> settle_staged(const Places& places);

}  // namespace limpet::backup
