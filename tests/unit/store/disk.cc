#include "disk.h"

#include <sys/stat.h>

#include <cstring>

#include "harness.h"

namespace limpet::store::test {
namespace {

struct Handle {
  sqlite3_file base;
  Disk* disk;
  sqlite3_file* real;
  std::string* path;
};

Handle* handle(sqlite3_file* f) { return reinterpret_cast<Handle*>(f); }

}  // namespace

// The callbacks of SQLite, with access to the disk's inside.
struct DiskVfs {
  static Disk& disk(sqlite3_vfs* v) { return *static_cast<Disk*>(v->pAppData); }
  static Disk::File& file(sqlite3_file* f) { return handle(f)->disk->files_[*handle(f)->path]; }
  static sqlite3_file* real(sqlite3_file* f) { return handle(f)->real; }

  static int close(sqlite3_file* f) {
    const int rc = real(f)->pMethods ? real(f)->pMethods->xClose(real(f)) : SQLITE_OK;
    sqlite3_free(handle(f)->real);
    delete handle(f)->path;
    return rc;
  }
  static int read(sqlite3_file* f, void* out, int n, sqlite3_int64 at) {
    if (handle(f)->disk->fails(Disk::Call::read)) return SQLITE_IOERR_READ;
    return real(f)->pMethods->xRead(real(f), out, n, at);
  }
  static int write(sqlite3_file* f, const void* in, int n, sqlite3_int64 at) {
    Disk& d = *handle(f)->disk;
    if (d.fails(Disk::Call::write)) return SQLITE_IOERR_WRITE;
    File& s = file(f);
    const uint64_t end = static_cast<uint64_t>(at) + static_cast<uint64_t>(n);
    if (end > s.size && d.full(*handle(f)->path, end - s.size)) return SQLITE_FULL;
    const int rc = real(f)->pMethods->xWrite(real(f), in, n, at);
    if (rc != SQLITE_OK) return rc;
    s.size = std::max(s.size, end);
    s.pending.push_back({static_cast<uint64_t>(at),
                         std::string(static_cast<const char*>(in), static_cast<size_t>(n)), false});
    d.step();
    return rc;
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    Disk& d = *handle(f)->disk;
    if (d.fails(Disk::Call::truncate)) return SQLITE_IOERR_TRUNCATE;
    const int rc = real(f)->pMethods->xTruncate(real(f), size);
    file(f).size = static_cast<uint64_t>(size);
    file(f).pending.push_back({static_cast<uint64_t>(size), {}, true});
    d.step();
    return rc;
  }
  static int sync(sqlite3_file* f, int flags) {
    Disk& d = *handle(f)->disk;
    if (d.fails(Disk::Call::sync)) return SQLITE_IOERR_FSYNC;
    (void)flags;  // the real sync adds nothing here but time
    File& s = file(f);
    if (!(d.lie_ && handle(f)->path->ends_with("-wal"))) {
      for (const Disk::Pending& p : s.pending) apply(s.durable, p);
      s.pending.clear();
    }
    d.step();
    return SQLITE_OK;
  }
  using File = Disk::File;
  static void apply(std::string& content, const Disk::Pending& p) {
    if (p.truncate) return content.resize(p.offset);
    if (content.size() < p.offset + p.bytes.size()) content.resize(p.offset + p.bytes.size());
    content.replace(p.offset, p.bytes.size(), p.bytes);
  }

  static int size(sqlite3_file* f, sqlite3_int64* n) { return real(f)->pMethods->xFileSize(real(f), n); }
  static int lock(sqlite3_file* f, int l) { return real(f)->pMethods->xLock(real(f), l); }
  static int unlock(sqlite3_file* f, int l) { return real(f)->pMethods->xUnlock(real(f), l); }
  static int reserved(sqlite3_file* f, int* out) {
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
  }
  static int control(sqlite3_file* f, int op, void* arg) {
    return real(f)->pMethods->xFileControl(real(f), op, arg);
  }
  static int sector(sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); }
  static int traits(sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); }

  static int open(sqlite3_vfs* v, const char* name, sqlite3_file* f, int flags, int* out) {
    // No shared memory (version 1): only an exclusively locked database can use a write-ahead log here.
    static const sqlite3_io_methods kMethods = {
        1,       close,  read,   write,   truncate, sync,    size,    lock,    unlock, reserved,
        control, sector, traits, nullptr, nullptr,  nullptr, nullptr, nullptr, nullptr};
    Disk& d = disk(v);
    f->pMethods = nullptr;
    if (d.fails(Disk::Call::open)) return SQLITE_CANTOPEN;
    auto* inner = static_cast<sqlite3_file*>(sqlite3_malloc(d.real_->szOsFile));
    memset(inner, 0, static_cast<size_t>(d.real_->szOsFile));
    const int rc = d.real_->xOpen(d.real_, name, inner, flags, out);
    if (rc != SQLITE_OK) {
      sqlite3_free(inner);
      return rc;
    }
    *handle(f) = {{&kMethods}, &d, inner, new std::string(name ? name : "(temporary)")};
    if (name && !d.files_.contains(name)) {
      File& s = d.files_[name];
      s.durable = read_file(name);
      s.size = s.durable.size();
    }
    return SQLITE_OK;
  }
  static int remove(sqlite3_vfs* v, const char* name, int) {
    disk(v).files_.erase(name);
    return disk(v).real_->xDelete(disk(v).real_, name, 0);
  }
};

Disk::Disk() : real_(sqlite3_vfs_find(nullptr)) {
  vfs_ = *real_;
  vfs_.iVersion = 1;
  vfs_.zName = "limpet-test-disk";
  vfs_.pAppData = this;
  vfs_.szOsFile = sizeof(Handle);
  vfs_.xOpen = DiskVfs::open;
  vfs_.xDelete = DiskVfs::remove;
  vfs_.xAccess = [](sqlite3_vfs* v, const char* n, int flags, int* out) {
    sqlite3_vfs* r = DiskVfs::disk(v).real_;
    return r->xAccess(r, n, flags, out);
  };
  vfs_.xFullPathname = [](sqlite3_vfs* v, const char* n, int size, char* out) {
    sqlite3_vfs* r = DiskVfs::disk(v).real_;
    return r->xFullPathname(r, n, size, out);
  };
  sqlite3_vfs_register(&vfs_, 1);
}

Disk::~Disk() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

void Disk::fail_nth(Call call, int n, bool forever) {
  call_ = call;
  forever_ = forever;
  left_ = n;
  reached_ = false;
  armed_ = true;
}

void Disk::heal() {
  armed_ = false;
  limit_ = 0;
}

bool Disk::fails(Call call) {
  if (!armed_ || call != call_) return false;
  const int left = --left_;
  if (left > 0 || (left < 0 && !forever_)) return false;
  reached_ = true;
  return true;
}

void Disk::limit(uint64_t bytes, std::string reserve_path) {
  reserve_ = std::move(reserve_path);
  limit_ = bytes;
}

bool Disk::full(const std::string& file, uint64_t growth) {
  for (const std::string& from : filled_) {
    if (file.starts_with(from)) return true;
  }
  if (limit_ == 0) return false;
  uint64_t used = growth;
  for (const auto& [path, f] : files_) used += f.size;
  struct stat st;
  if (stat(reserve_.c_str(), &st) == 0) used += static_cast<uint64_t>(st.st_size);
  return used > limit_;
}

void Disk::observe(int every, std::function<void()> f) {
  every_ = every;
  observer_ = std::move(f);
}

void Disk::step() {
  if (every_ > 0 && ++steps_ % every_ == 0) observer_();
}

void Disk::fill(const std::string& from, bool full) {
  if (full) {
    filled_.insert(from);
  } else {
    filled_.erase(from);
  }
}

void Disk::forget(const std::string& from) {
  fill(from, false);
  std::erase_if(files_, [&](const auto& file) { return file.first.starts_with(from); });
}

Disk::Image Disk::image(Random& random, const std::string& dir, const std::string& from) const {
  Image out;
  for (const auto& [path, f] : files_) {
    if (!path.starts_with(from)) continue;
    std::string content = f.durable;
    for (const Pending& p : f.pending) {
      const uint64_t fate = random.below(3);
      if (fate == 0) {
        ++out.missing;
        continue;
      }
      if (fate == 1 || p.truncate) {
        DiskVfs::apply(content, p);
        continue;
      }
      size_t there = 0, sectors = 0;
      for (size_t at = 0; at < p.bytes.size(); at += 512, ++sectors) {
        if (!random.below(2)) continue;
        DiskVfs::apply(content, {p.offset + at, p.bytes.substr(at, 512), false});
        ++there;
      }
      out.missing += there == 0 ? 1 : 0;
      out.torn += there > 0 && there < sectors ? 1 : 0;
    }
    write_file(dir + path.substr(path.rfind('/')), content);
  }
  return out;
}

}  // namespace limpet::store::test
