// Backup files on a disk: written whole or not at all, read piece by piece.
//
// A file that is being written has a temporary name beside its own (".NAME.tmp-XXXXXX", mode 0600) and is
// locked; what a process that was killed left behind goes with the next backup of that name. Both sides hold
// two chunks of 64 KiB at most. Blocking.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "backup/header.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "pki/stream_seal.h"

namespace limpet::backup {

class BackupWriter {
 public:
  // already_exists: there is something at the path, and it is not to be replaced.
  static Result<BackupWriter> create(const std::string& path, bool replace, const Head& head);
  ~BackupWriter();  // what was not finished is removed
  BackupWriter(BackupWriter&&) noexcept = default;

  Result<> write(std::string_view plain);
  // The end, a sync, and its name. Gives the size of the file.
  Result<uint64_t> finish();

 private:
  BackupWriter(std::string path, bool replace, std::string temporary, UniqueFd fd, pki::StreamSealer sealer);
  Result<> flush();

  std::string path_, temporary_;
  bool replace_;
  UniqueFd fd_;
  pki::StreamSealer sealer_;
  std::string sealed_;
  uint64_t size_ = 0;
};

// Removes the temporary files of names for which `of` is true, unless somebody is writing them.
void remove_unfinished(const std::string& directory, const std::function<bool(std::string_view name)>& of);

class BackupInput {
 public:
  // Errors name the path: not_found, corrupt (no backup, or a damaged head), unsupported (a newer limpet's).
  static Result<BackupInput> open(const std::string& path);
  const Header& header() const { return header_; }
  uint64_t size() const { return size_; }  // of the file
  // Everything behind the head, opened, in order; the error of `plain` ends it. `corrupt`: altered or cut.
  Result<> read(const pki::SealKey& key, const std::function<Result<>(std::string_view)>& plain);

 private:
  BackupInput(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
  Header header_;
  uint64_t size_ = 0;
};

// Of the file system of a directory, for others than root. `exhausted` when that is less than `wanted`: the
// error says how much is there and how much is needed.
Result<> check_room(const std::string& directory, uint64_t wanted);

}  // namespace limpet::backup
