// What a backup holds, once opened: records, one after the other.
//
//   record:   type byte, varint length, bytes
//   manifest  first, once: JSON, Manifest
//   file      varint length and name, then its bytes: keys and certificates, in the manifest's order
//   state     a piece of the store's state (store::StatePart), at least one
//   end       last: varint number of the records before it
//
// The sealed stream proves that nothing was added or taken away afterwards; the end proves that whoever made
// it came to its end. A reader holds one record at most; an object of the API is at most 3 MiB.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace limpet::backup {

enum class RecordType : uint8_t { manifest = 1, file = 2, state = 3, end = 4 };

constexpr size_t max_manifest = 64u << 10;
constexpr size_t max_file = 256u << 10;
constexpr size_t max_state = 10u << 20;  // a piece of 64 KiB and one object that came last
constexpr size_t max_files = 16;

struct Manifest {
  struct File {
    std::string name;  // "ca.key"
    int64_t bytes = 0;
    bool operator==(const File&) const = default;
  };
  std::string cluster;  // 16 bytes
  std::string node;     // of the device that made it
  std::string limpet;   // its version
  int64_t time = 0;     // seconds since 1970
  int64_t revision = 0;
  int64_t term = 0;          // of the volatile space and the raft group
  int64_t store_schema = 0;  // of the database that it was read from
  int64_t state_bytes = 0;   // about
  // Whether a majority of the servers agreed that this was the newest state.
  bool confirmed = true;
  std::vector<File> files;
  bool operator==(const Manifest&) const = default;
};

std::string manifest_json(const Manifest& manifest);
// unsupported: of a newer limpet; corrupt: none that manifest_json made.
Result<Manifest> parse_manifest(std::string_view json);

std::string record(RecordType type, std::string_view bytes);
std::string file_record(std::string_view name, std::string_view bytes);
std::string end_record(uint64_t records);
// Bytes of a whole backup with that manifest, about: for a disk that may be too small.
uint64_t estimate(const Manifest& manifest);

// Takes a stream apart. Errors are `corrupt`, or those of the sink.
class RecordReader {
 public:
  struct Sink {
    std::function<Result<>(Manifest)> manifest;
    std::function<Result<>(std::string_view name, std::string_view bytes)> file;
    std::function<Result<>(std::string_view piece)> state;
  };
  explicit RecordReader(Sink sink) : sink_(std::move(sink)) {}

  Result<> feed(std::string_view bytes);
  bool ended() const { return ended_; }
  // `corrupt`: the stream was cut.
  Result<> finish() const;

 private:
  Result<> take(RecordType type, std::string_view bytes);
  Result<> take_file(std::string_view bytes);

  Sink sink_;
  std::string buffer_;
  Manifest manifest_;
  uint64_t records_ = 0;
  size_t files_ = 0;
  bool state_ = false, ended_ = false;
};

}  // namespace limpet::backup
