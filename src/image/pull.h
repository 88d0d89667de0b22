// One pull: name to manifest, manifest to configuration and layers, layers to disk, then the record.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "image/document.h"
#include "image/layer_jobs.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/store.h"
#include "image/transport.h"
#include "image/types.h"

namespace limpet::image {

// What a pull needs of its owner, who outlives it.
struct PullContext {
  Transport& transport;
  const Store& store;
  LayerJobs& jobs;
  Platform platform;
  // Whether the image of this manifest is recorded and all of it on disk.
  std::function<const Image*(const std::string& manifest)> known;
  // Puts the image into the index, durably.
  std::function<void(Image, std::function<void(Result<>)>)> record;
};

// The layers of an image as requests to LayerJobs, lowest first.
std::vector<LayerRequest> layer_requests(const Image& image, const std::vector<SessionPtr>& sessions);

class Pull final {
 public:
  using Done = std::function<void(Result<Image>)>;
  // done comes once, not from inside; destroying cancels.
  Pull(PullContext context, Reference reference, std::vector<std::string> docker_configs, bool again,
       Progress progress, Done done);
  ~Pull();
  Pull(const Pull&) = delete;

 private:
  void resolve();
  void resolved(Document document);
  void choose(const Document& index);
  void take_manifest(Document document);
  void take_config(Document document);
  void keep_documents(std::string config);
  void make_layers();
  void layer_done(Result<> result);
  void record();
  void finish(Result<Image> result);
  void fail_resolve(Error error);

  PullContext context_;
  Reference reference_;
  std::vector<std::string> docker_configs_;
  bool again_;  // make the layers even if they are there: they are damaged
  Progress progress_;
  Done done_;
  std::unique_ptr<DocumentFetch> fetch_;
  std::vector<SessionPtr> sessions_;
  std::string top_digest_;  // of what the name stands for: an index or a manifest
  std::string manifest_bytes_;
  Manifest manifest_;
  Image image_;
  loop::Work work_;
  std::vector<std::unique_ptr<Operation>> layers_;
  size_t missing_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for the answer of record()
};

}  // namespace limpet::image
