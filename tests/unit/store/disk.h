// A disk that fails on request: a SQLite VFS over the real one, made the default while it exists.
//
// It counts calls and fails the N-th; refuses growth beyond a size; and remembers which writes no sync covers
// yet, so that the images a power cut may leave can be made: of the unsynced writes each is there, missing,
// or torn at 512 B.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

namespace limpet::store::test {

class Disk {
 public:
  enum class Call { read, write, sync, open, truncate };
  Disk();
  ~Disk();
  Disk(const Disk&) = delete;

  // The n-th call of this kind from now (from 1) fails, or that one and all after it.
  void fail_nth(Call call, int n, bool forever);
  void heal();
  bool reached() const { return reached_; }

  // Bytes that the files of a database (and its reserve file) may have together; 0: no limit.
  void limit(uint64_t bytes, std::string reserve_path);

  // Syncs of the write-ahead log promise and do nothing, as synchronous=NORMAL leaves them out.
  void lie_about_wal_syncs(bool lie) { lie_ = lie; }

  // After each `every`-th write, sync or truncation, `f` is called (on the thread that made it) and may make
  // an image.
  void observe(int every, std::function<void()> f);
  // Writes what a power cut now might leave into another directory (files by their own names): of all files,
  // or of those whose path begins so.
  struct Image {
    uint64_t missing = 0, torn = 0;  // of the writes that no sync covers
  };
  Image image(Random& random, const std::string& dir, const std::string& from = "") const;
  // Files whose path begins so do not grow for now, or are not known any more.
  void fill(const std::string& from, bool full);
  void forget(const std::string& from);

 private:
  friend struct DiskVfs;
  struct Pending {
    uint64_t offset;
    std::string bytes;
    bool truncate;
  };
  struct File {
    std::string durable;
    std::vector<Pending> pending;
    uint64_t size = 0;
  };
  bool fails(Call call);
  bool full(const std::string& file, uint64_t growth);
  void step();

  sqlite3_vfs* real_;
  sqlite3_vfs vfs_{};
  std::map<std::string, File> files_;
  std::atomic<int> left_{0};
  Call call_ = Call::read;
  bool forever_ = false;
  std::atomic<bool> reached_{false};
  std::atomic<bool> armed_{false};
  std::atomic<uint64_t> limit_{0};
  std::string reserve_;
  std::set<std::string> filled_;
  bool lie_ = false;
  int every_ = 0;
  int steps_ = 0;
  std::function<void()> observer_;
};

}  // namespace limpet::store::test
