// One pull: name to manifest, manifest to configuration and layers, layers to disk, then the record.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "image/document.h"
#include "image/holds.h"
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
  Holds& holds;
  Platform platform;
  // Whether the image of this manifest is recorded and all of it on disk.
  std::function<const Image*(const std::string& manifest)> known;
  // Puts the image into the index, durably; refused when a layer is not there. Never calls back from inside.
  std::function<void(Image, std::function<void(Result<>)>)> record;
};

// The layers of an image as requests to LayerJobs, lowest first.
std::vector<LayerRequest> layer_requests(const Image& image, const std::vector<SessionPtr>& sessions);

class Pull final {
 public:
  using Done = std::function<void(Result<Image>)>;
  // check: how closely layers that are there already are looked at; those that fail are made again. done
  // comes once, not from inside; destroying cancels.
  Pull(PullContext context, Reference reference, std::vector<std::string> docker_configs, Check check,
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
  void look();
  void make_layers(const std::vector<bool>& intact);
  void layer_done(Result<> result);
  void record();
  void finish(Result<Image> result);
  void fail_resolve(Error error);

  PullContext context_;
  Reference reference_;
  std::vector<std::string> docker_configs_;
  Check check_;
  Progress progress_;
  Done done_;
  std::unique_ptr<DocumentFetch> fetch_;
  std::vector<SessionPtr> sessions_;
  std::string top_digest_;  // of what the name stands for: an index or a manifest
  std::string manifest_bytes_;
  Manifest manifest_;
  Image image_;
  Holds::HoldPtr hold_;
  loop::Work work_;
  std::vector<std::unique_ptr<Operation>> layers_;
  size_t missing_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for the answer of record()
};

}  // namespace limpet::image
