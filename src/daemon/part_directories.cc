#include "daemon/part_directories.h"

#include "base/atomic_file.h"

namespace limpet::daemon {
namespace {

class DirectoriesPart final : public Part {
 public:
  explicit DirectoriesPart(Device& device) : device_(device) {}
  const char* name() const override { return "directories"; }

  Result<> start() override {
    CHECK_OK(make_directories_of(device_.paths));
    // A power cut may have left half-written files behind.
    for (const std::string* path : {&device_.paths.data_dir, &device_.paths.pki_dir})
      remove_temporaries(*path);
    return {};
  }

 private:
  Device& device_;
};

}  // namespace

std::unique_ptr<Part> make_directories_part(Device& device) {
  return std::make_unique<DirectoriesPart>(device);
}

}  // namespace limpet::daemon
