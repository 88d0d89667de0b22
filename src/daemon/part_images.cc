// The images of the device, and the node agent's view of them.
#include <unistd.h>

#include "api/server.h"
#include "base/atomic_file.h"
#include "base/log.h"
#include "daemon/local_api.h"
#include "daemon/metrics.h"
#include "daemon/parts.h"
#include "daemon/registries.h"
#include "image/http_api.h"
#include "image/images.h"
#include "node/services.h"
#include "tls/tls.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_auth_file_bytes = 1 << 20;

// Programs of one installation lie in one directory.
std::string beside_this_program(const char* program) {
  char self[4096];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  const std::string path(self, n > 0 ? static_cast<size_t>(n) : 0);
  return path.substr(0, path.rfind('/') + 1) + program;
}

// An operation of src/image as one of src/node: destroying either cancels.
class Carried final : public node::Operation {
 public:
  explicit Carried(std::unique_ptr<image::Operation> operation) : operation_(std::move(operation)) {}

 private:
  std::unique_ptr<image::Operation> operation_;
};

node::ImageRoot root_for_node(image::ImageRoot r) {
  return {std::move(r.image_id), std::move(r.repo_digest), std::move(r.lower_dirs), std::move(r.config_json)};
}

class NodeImages final : public node::Images {
 public:
  explicit NodeImages(image::ImageStore& store) : store_(store) {}

  std::optional<node::ImageRoot> find(const std::string& reference) override {
    auto root = store_.find(reference);
    if (!root) return std::nullopt;
    return root_for_node(std::move(*root));
  }
  std::unique_ptr<node::Operation> pull(node::PullRequest request,
                                        std::function<void(Result<node::ImageRoot>)> done) override {
    image::PullOptions options{std::move(request.reference), std::move(request.docker_configs), nullptr};
    options.progress = [tally = image::PullTally(),
                        progress = std::move(request.progress)](const image::LayerProgress& news) mutable {
      tally.add(news);
      const image::PullStatus sum = tally.sum();
      if (progress) progress({sum.done, sum.total, sum.layers_done, sum.layers});
    };
    return carry(store_.pull(std::move(options), [done = std::move(done)](Result<image::ImageRoot> r) {
      if (!r) return done(std::unexpected(std::move(r).error()));
      done(root_for_node(std::move(*r)));
    }));
  }
  std::unique_ptr<node::Operation> repair(const std::string& image_id,
                                          std::function<void(Result<>)> done) override {
    return carry(store_.repair(image_id, std::move(done)));
  }
  void set_in_use(std::vector<std::string> ids) override { store_.set_in_use(std::move(ids)); }

 private:
  static std::unique_ptr<node::Operation> carry(std::unique_ptr<image::Operation> operation) {
    return std::make_unique<Carried>(std::move(operation));
  }
  image::ImageStore& store_;
};

class ImagesPart final : public Part {
 public:
  explicit ImagesPart(Device& device) : device_(device) {}
  const char* name() const override { return "images"; }

  Result<> start() override {
    const Config& c = device_.config;
    engine_ = std::make_unique<tls::Engine>(device_.loop, device_.clock);
    image::ImageStoreOptions options;
    options.directory = device_.paths.images_dir;
    options.archives_dir = device_.paths.archives_dir;
    options.unpack.program = beside_this_program("limpet-unpack");
    options.max_parallel_pulls = static_cast<size_t>(c.images.max_parallel_pulls);
    options.gc_high_percent = static_cast<int>(c.images.gc_high_percent);
    options.gc_low_percent = static_cast<int>(c.images.gc_low_percent);
    TRY(image::TransportOptions transport, transport_options());
    options.transport = std::move(transport);
    store_ =
        std::make_unique<image::ImageStore>(device_.loop, device_.clock, engine_.get(), std::move(options));
    std::string warning;
    CHECK_OK(store_->open(&warning));
    if (!warning.empty()) log::warning(warning);
    store_->import_archives([](const std::string& archive, Result<> r) {
      if (archive.empty()) return;
      if (r) return log::info("archive imported", {{"file", archive}});
      log::warning("an archive of images cannot be imported", {{"file", archive}, {"error", r.error()}});
    });
    images_ = std::make_unique<NodeImages>(*store_);
    api_ = std::make_unique<image::HttpApi>(device_.loop, *store_);
    device_.images = images_.get();
    device_.local->serve("images", [this](http::ExchangePtr e) { api_->handle(e); });
    device_.local->describe("pulls", [this](json::Writer& w) { image::render_pulls(w, *store_); });
    device_.metrics->add("images", [this](api::MetricsText& out) {
      describe_images(out, store_->traffic(), store_->pulls(), store_->pulled(), store_->failed());
    });
    return {};
  }

  void stop(loop::Task done) override {
    device_.images = nullptr;
    if (device_.local) device_.local->serve("images", nullptr);
    if (device_.local) device_.local->describe("pulls", {});
    if (device_.metrics) device_.metrics->add("images", {});
    api_.reset();
    images_.reset();
    store_.reset();
    engine_.reset();
    done();
  }

  void reload(const Config&) override {
    auto options = transport_options();
    auto taken = options ? store_->configure(std::move(*options))
                         : Result<>(std::unexpected(std::move(options).error()));
    if (!taken)
      log::error("the registries of the new configuration are not taken over", {{"error", taken.error()}});
    store_->configure_collection(static_cast<int>(device_.config.images.gc_high_percent),
                                 static_cast<int>(device_.config.images.gc_low_percent));
  }

 private:
  Result<image::TransportOptions> transport_options() const {
    const Config& c = device_.config;
    image::TransportOptions o = registry_options(c);
    if (!c.registries.auth_file.empty()) {
      TRY(std::string text, read_file(c.registries.auth_file, max_auth_file_bytes));
      o.docker_config = std::move(text);
    }
    if (!c.registries.ca_file.empty()) {
      TRY(std::string text, read_file(c.registries.ca_file, max_ca_file_bytes));
      o.ca_pem = std::move(text);
    }
    return o;
  }

  Device& device_;
  std::unique_ptr<tls::Engine> engine_;
  std::unique_ptr<image::ImageStore> store_;
  std::unique_ptr<NodeImages> images_;
  std::unique_ptr<image::HttpApi> api_;
};

}  // namespace

std::unique_ptr<Part> make_images_part(Device& device) { return std::make_unique<ImagesPart>(device); }

}  // namespace limpet::daemon
