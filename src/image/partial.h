// A blob on its way: the bytes there are, and what they may be trusted by after whatever ended the last
// attempt.
//
//   ingest/HEX       the bytes from the start of the blob of that digest
//   ingest/HEX.note  one line per mark: boot id, length, SHA-256 of everything up to there
//
// A mark is written once the bytes before it are on stable storage. What lies behind the last mark counts
// only in the boot that wrote it: a kill leaves it as it was, a power cut may have left anything. All of it
// is read again before it is gone on with; what does not match its mark is dropped, back to the mark before.
//
// Blocking, for the pool; one at a time per digest. Owned by Download.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "image/store.h"

namespace limpet::image {

class Partial {
 public:
  Partial(const Store& store, const std::string& digest, uint64_t size);

  // Reads what is there and keeps what can be trusted; size() says how much that is.
  Result<> open();
  Result<> append(std::string_view bytes);
  // What there is survives a power cut from here on.
  Result<> mark();
  Result<> truncate();
  void remove();
  // The blob is whole: into its place. corrupt: the bytes are not those of the digest.
  Result<> commit();

  uint64_t size() const { return size_; }
  uint64_t marked() const { return marked_; }

 private:
  struct Mark {
    std::string boot;
    uint64_t length = 0;
    std::string digest;  // hex
  };
  std::vector<Mark> read_note() const;
  Result<> write_note(const std::vector<Mark>& marks, bool sync) const;
  Mark mark_here() const;

  std::string path_, note_path_, target_;
  std::string wanted_;  // hex
  uint64_t wanted_size_;
  UniqueFd fd_;
  Sha256 hash_;
  uint64_t size_ = 0, marked_ = 0;
};

}  // namespace limpet::image
