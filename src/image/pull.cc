#include "image/pull.h"

#include <algorithm>

namespace limpet::image {

std::vector<LayerRequest> layer_requests(const Image& image, const std::vector<SessionPtr>& sessions) {
  std::vector<LayerRequest> out;
  std::vector<std::string> parents;
  for (const Layer& layer : image.layers) {
    LayerRequest r;
    r.layer = layer;
    r.parents = parents;
    r.sessions = sessions;
    out.push_back(std::move(r));
    parents.insert(parents.begin(), layer.chain_id);
  }
  return out;
}

Pull::Pull(PullContext context, Reference reference, std::vector<std::string> docker_configs, Check check,
           Progress progress, Done done)
    : context_(std::move(context)),
      reference_(std::move(reference)),
      docker_configs_(std::move(docker_configs)),
      check_(check),
      progress_(std::move(progress)),
      done_(std::move(done)) {
  resolve();
}

Pull::~Pull() = default;

void Pull::resolve() {
  fetch_ = std::make_unique<DocumentFetch>(
      context_.transport, context_.transport.sessions(reference_, docker_configs_),
      "manifests/" + reference_.version(), manifest_types, reference_.digest, max_manifest_bytes,
      [this](Result<Document> document) {
        if (!document) return fail_resolve(std::move(document).error());
        resolved(std::move(*document));
      });
}

void Pull::fail_resolve(Error error) {
  const std::string name = reference_.text();
  if (error.code == Errc::not_found && error.message == "not found") error.message = name + ": not found";
  finish(std::unexpected(std::move(error).with("failed to resolve reference \"" + name + "\"")));
}

void Pull::resolved(Document document) {
  top_digest_ = document.digest;
  sessions_ = document.sessions;
  auto kind = document_kind(document.bytes, document.content_type);
  if (!kind) return finish(std::unexpected(std::move(kind).error()));
  if (*kind == DocumentKind::index) return choose(document);
  take_manifest(std::move(document));
}

void Pull::choose(const Document& index) {
  auto entries = parse_index(index.bytes);
  if (!entries) return finish(std::unexpected(std::move(entries).error()));
  auto entry = select_platform(*entries, context_.platform);
  if (!entry) return finish(std::unexpected(std::move(entry).error()));
  fetch_ = std::make_unique<DocumentFetch>(
      context_.transport, sessions_, "manifests/" + entry->digest, manifest_types, entry->digest,
      max_manifest_bytes, [this](Result<Document> document) {
        if (!document) return fail_resolve(std::move(document).error());
        auto kind = document_kind(document->bytes, document->content_type);
        if (kind && *kind == DocumentKind::index)
          kind = fail(Errc::unsupported, "an index inside of an index");
        if (!kind) return finish(std::unexpected(std::move(kind).error()));
        take_manifest(std::move(*document));
      });
}

void Pull::take_manifest(Document document) {
  auto manifest = parse_manifest(document.bytes);
  if (!manifest) return finish(std::unexpected(std::move(manifest).error()));
  manifest_ = std::move(*manifest);
  if (const Image* known = context_.known(document.digest); known != nullptr) {
    image_ = *known;
    image_.references.clear();
    image_.repo_digests.clear();
    hold_ = context_.holds.take(image_, [this] { look(); });
    return;
  }
  image_.manifest = document.digest;
  manifest_bytes_ = std::move(document.bytes);
  fetch_ = std::make_unique<DocumentFetch>(
      context_.transport, sessions_, "blobs/" + manifest_.config.digest, "", manifest_.config.digest,
      max_config_bytes, [this](Result<Document> config) {
        if (!config) {
          return finish(std::unexpected(
              std::move(config).error().with("image configuration " + manifest_.config.digest)));
        }
        take_config(std::move(*config));
      });
}

void Pull::take_config(Document document) {
  auto config = parse_config(document.bytes, manifest_.layers.size(), context_.platform);
  if (!config) return finish(std::unexpected(std::move(config).error()));
  image_.id = manifest_.config.digest;
  image_.config_size = document.bytes.size();
  const std::vector<std::string> chains = chain_ids(config->diff_ids);
  for (size_t i = 0; i < chains.size(); ++i) {
    const Descriptor& d = manifest_.layers[i];
    image_.layers.push_back({chains[i], config->diff_ids[i], d.digest, d.media_type, d.size});
  }
  hold_ = context_.holds.take(
      image_, [this, config = std::move(document.bytes)]() mutable { keep_documents(std::move(config)); });
}

void Pull::keep_documents(std::string config) {
  auto result = std::make_shared<Result<>>();
  work_.start(
      context_.transport.loop(),
      [result, store = context_.store, id = image_.id, config = std::move(config), manifest = image_.manifest,
       bytes = std::move(manifest_bytes_)] {
        *result = store.write_blob(id, config);
        if (*result) *result = store.write_blob(manifest, bytes);
      },
      [this, result] {
        if (!*result) return finish(std::unexpected(std::move(*result).error()));
        look();
      });
}

void Pull::look() {
  auto intact = std::make_shared<std::vector<bool>>();
  work_.start(
      context_.transport.loop(),
      [intact, store = context_.store, layers = image_.layers, check = check_] {
        for (const Layer& layer : layers) intact->push_back(store.layer_intact(layer, check));
      },
      [this, intact] { make_layers(*intact); });
}

void Pull::make_layers(const std::vector<bool>& intact) {
  std::vector<LayerRequest> wanted;
  std::vector<LayerRequest> requests = layer_requests(image_, sessions_);
  for (size_t i = 0; i < requests.size(); ++i) {
    LayerRequest& r = requests[i];
    if (intact[i]) {
      if (progress_) {
        progress_({r.layer.digest, r.layer.size, r.layer.size, LayerProgress::Phase::complete});
      }
      continue;
    }
    r.again = check_ != Check::presence;
    r.progress = progress_;
    if (progress_) progress_({r.layer.digest, 0, r.layer.size, LayerProgress::Phase::waiting});
    wanted.push_back(std::move(r));
  }
  missing_ = wanted.size();
  if (missing_ == 0) return record();
  for (LayerRequest& r : wanted) {
    layers_.push_back(
        context_.jobs.make(std::move(r), [this](Result<> result) { layer_done(std::move(result)); }));
  }
}

void Pull::layer_done(Result<> result) {
  if (!result) return finish(std::unexpected(std::move(result).error()));
  if (--missing_ == 0) record();
}

void Pull::record() {
  if (!reference_.tag.empty() && reference_.digest.empty()) image_.references = {reference_.text()};
  image_.repo_digests = {reference_.name() + "@" + top_digest_};
  context_.record(image_, [this, alive = std::weak_ptr<bool>(alive_)](Result<> result) {
    if (alive.expired()) return;
    if (!result) return finish(std::unexpected(std::move(result).error()));
    finish(image_);
  });
}

void Pull::finish(Result<Image> result) {
  layers_.clear();
  fetch_.reset();
  const Done done = std::move(done_);
  if (!result) {
    const std::string what = "failed to pull and unpack image \"" + reference_.text() + "\"";
    return done(std::unexpected(std::move(result).error().with(what)));
  }
  done(std::move(result));
}

}  // namespace limpet::image
