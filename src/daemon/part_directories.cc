// The first part: directories of the device with their modes, and the lock on dataDir.
#include <optional>

#include "backup/staged.h"
#include "base/atomic_file.h"
#include "daemon/parts.h"
#include "daemon/readers.h"
#include "store/data_dir_lock.h"

namespace limpet::daemon {
namespace {

class DirectoriesPart final : public Part {
 public:
  explicit DirectoriesPart(Device& device) : device_(device) {}
  const char* name() const override { return "directories"; }

  Result<> start() override {
    device_.reader_gid = group_id(device_.config.listen.socket_group);
    device_.is_reader = [gid = device_.reader_gid](uint32_t uid, uint32_t primary) {
      return is_member(uid, primary, gid);
    };
    CHECK_OK(make_directories(device_.paths.data_dir, 0700));
    TRY(auto lock, store::lock_data_dir(device_.paths.data_dir));
    CHECK_OK(make_directories_of(device_.paths));
    // A restore that a power cut came into, once all of it was there.
    CHECK_OK(
        backup::settle_staged({device_.paths.data_dir, device_.paths.store_file, device_.paths.pki_dir}));
    // A power cut may have left half-written files behind.
    for (const std::string* path : {&device_.paths.data_dir, &device_.paths.pki_dir})
      remove_temporaries(*path);
    lock_.emplace(std::move(lock));
    return {};
  }

  void stop(loop::Task done) override {
    lock_.reset();
    done();
  }

 private:
  Device& device_;
  std::optional<store::FileLock> lock_;
};

}  // namespace

std::unique_ptr<Part> make_directories_part(Device& device) {
  return std::make_unique<DirectoriesPart>(device);
}

}  // namespace limpet::daemon
