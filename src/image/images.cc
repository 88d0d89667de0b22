#include "image/images.h"

#include <algorithm>

#include "image/images_impl.h"

namespace limpet::image {
namespace {

constexpr size_t max_waiting_pulls = 256;

bool contains(const std::vector<std::string>& list, const std::string& s) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

void add_new(std::vector<std::string>& list, const std::vector<std::string>& more) {
  for (const std::string& s : more) {
    if (!contains(list, s)) list.push_back(s);
  }
}

}  // namespace

ImageStore::ImageStore(loop::Loop& loop, Clock& clock, tls::Engine* engine, ImageStoreOptions options)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      store_(options_.directory),
      transport_(loop, clock, engine),
      holds_(loop, [this] { start_removal(); }),
      jobs_(transport_, store_, options_.unpack),
      platform_(host_platform()),
      collect_timer_(loop, "image.collect"),
      pull_timer_(loop, "image.pulls") {}

ImageStore::~ImageStore() {
  archive_import_.reset();
  pulls_.clear();
}

Result<> ImageStore::open(std::string* warning) {
  CHECK_OK(store_.open());
  CHECK_OK(transport_.configure(options_.transport));
  auto index = store_.load_index();
  if (index) {
    images_ = std::move(*index);
  } else if (index.error().code == Errc::corrupt) {
    *warning = index.error().message;
  } else {
    return std::unexpected(std::move(index).error());
  }
  for (const Image& image : images_) seen(image.id);
  drop({}, leftover_age_ms, {});
  collect_timer_.repeat(300'000, [this] { collect(); });
  return {};
}

const Image* ImageStore::find_image(const std::string& reference) const {
  if (valid_digest(reference)) {
    for (const Image& image : images_) {
      if (image.id == reference) return &image;
    }
    return nullptr;
  }
  const auto parsed = parse_reference(reference);
  if (!parsed) return nullptr;
  const std::string by_digest = parsed->digest.empty() ? "" : parsed->name() + "@" + parsed->digest;
  const std::string by_tag = parsed->digest.empty() ? parsed->text() : "";
  for (const Image& image : images_) {
    if (!by_tag.empty() && contains(image.references, by_tag)) return &image;
    if (by_digest.empty()) continue;
    if (contains(image.repo_digests, by_digest) ||
        contains(image.repo_digests, parsed->name() + "@" + image.manifest)) {
      if (contains(image.repo_digests, by_digest) || image.manifest == parsed->digest) return &image;
    }
  }
  return nullptr;
}

Image* ImageStore::find_image(const std::string& reference) {
  return const_cast<Image*>(static_cast<const ImageStore*>(this)->find_image(reference));
}

bool ImageStore::is_complete(const Image& image) const {
  if (!store_.read_blob(image.id, max_config_bytes)) return false;
  return std::all_of(image.layers.begin(), image.layers.end(),
                     [&](const Layer& l) { return store_.has_layer(l); });
}

const Image* ImageStore::complete_image(const std::string& manifest) const {
  for (const Image& image : images_) {
    if (image.manifest == manifest && is_complete(image)) return &image;
  }
  return nullptr;
}

Result<ImageRoot> ImageStore::root_of(const Image& image) const {
  ImageRoot out;
  TRY(out.config_json, store_.read_blob(image.id, max_config_bytes));
  out.image_id = image.id;
  out.repo_digest = image.repo_digests.empty() ? image.id : image.repo_digests.front();
  for (size_t i = image.layers.size(); i-- > 0;) {
    if (!store_.has_layer(image.layers[i]))
      return fail(Errc::not_found, "layer " + image.layers[i].digest + " is missing");
    out.lower_dirs.push_back(store_.layer_root(image.layers[i].chain_id));
  }
  return out;
}

std::optional<ImageRoot> ImageStore::find(const std::string& reference) const {
  const Image* image = find_image(reference);
  if (image == nullptr) return std::nullopt;
  auto root = root_of(*image);
  if (!root) return std::nullopt;
  return std::move(*root);
}

PullContext ImageStore::context() {
  return {
      transport_,
      store_,
      jobs_,
      holds_,
      platform_,
      [this](const std::string& manifest) { return complete_image(manifest); },
      [this](Image image, std::function<void(Result<>)> done) { record(std::move(image), std::move(done)); }};
}

std::unique_ptr<Operation> ImageStore::pull(PullOptions options,
                                            std::function<void(Result<ImageRoot>)> done) {
  using Failed = Later<Result<ImageRoot>>;
  auto reference = parse_reference(options.reference);
  if (!reference)
    return std::make_unique<Failed>(loop_, std::move(done), std::unexpected(std::move(reference).error()));
  std::string key = reference->text();
  // Another pod's secret is another pull: what it may see, this one may not.
  for (const std::string& config : options.docker_configs) key += "\n" + config;
  key += "\n" + std::to_string(static_cast<int>(options.check));
  const uint64_t id = next_id_++;
  for (const auto& pull : pulls_) {
    if (pull->key != key) continue;
    for (const LayerProgress& news : pull->tally.layers()) {  // what the others were told before
      if (options.progress) options.progress(news);
    }
    pull->waiters.push_back({id, std::move(options.progress), std::move(done)});
    return std::make_unique<PullTicket>(*this, id);
  }
  if (pulls_.size() >= max_waiting_pulls) {
    return std::make_unique<Failed>(loop_, std::move(done),
                                    fail(Errc::exhausted, "too many image pulls are waiting"));
  }
  auto shared = std::make_unique<SharedPull>();
  shared->key = std::move(key);
  shared->reference = std::move(*reference);
  shared->docker_configs = std::move(options.docker_configs);
  shared->check = options.check;
  shared->waiters.push_back({id, std::move(options.progress), std::move(done)});
  pulls_.push_back(std::move(shared));
  pull_timer_.start(0, [this] { start_pulls(); });
  return std::make_unique<PullTicket>(*this, id);
}

void ImageStore::start_pulls() {
  size_t running = 0;
  for (const auto& pull : pulls_) running += pull->pull ? 1 : 0;
  for (const auto& pull : pulls_) {
    if (pull->pull || running >= options_.max_parallel_pulls) continue;
    ++running;
    SharedPull& p = *pull;
    p.pull = std::make_unique<Pull>(
        context(), p.reference, p.docker_configs, p.check,
        [&p](const LayerProgress& progress) {
          p.tally.add(progress);
          for (const SharedPull::Waiter& w : p.waiters) {
            if (w.progress) w.progress(progress);
          }
        },
        [this, &p](Result<Image> result) { pull_done(p, std::move(result)); });
  }
}

std::vector<PullStatus> ImageStore::pulls() const {
  std::vector<PullStatus> out;
  for (const auto& pull : pulls_) {
    out.push_back(pull->tally.sum());
    out.back().reference = pull->reference.text();
    out.back().running = pull->pull != nullptr;
  }
  return out;
}

void ImageStore::pull_done(SharedPull& pull, Result<Image> result) {
  ++(result ? pulled_ : failed_);
  const auto it = std::find_if(pulls_.begin(), pulls_.end(), [&](const auto& p) { return p.get() == &pull; });
  finishing_.push_back(std::move(*it));
  pulls_.erase(it);
  pull_timer_.start(0, [this] {
    start_pulls();
    collect();
  });
  Result<ImageRoot> root = result ? root_of(*result) : std::unexpected(result.error());
  // One by one from a list that their own cancelling may shorten.
  while (!pull.waiters.empty()) {
    const SharedPull::Waiter waiter = std::move(pull.waiters.back());
    pull.waiters.pop_back();
    waiter.done(root);
  }
  std::erase_if(finishing_, [&](const auto& p) { return p.get() == &pull; });
}

void ImageStore::leave_pull(uint64_t waiter) {
  for (const auto& pull : finishing_) {
    if (pull->drop(waiter)) return;
  }
  for (size_t i = 0; i < pulls_.size(); ++i) {
    if (!pulls_[i]->drop(waiter)) continue;
    if (pulls_[i]->waiters.empty()) {
      pulls_.erase(pulls_.begin() + static_cast<std::ptrdiff_t>(i));
      pull_timer_.start(0, [this] { start_pulls(); });
    }
    return;
  }
}

void ImageStore::record(Image image, std::function<void(Result<>)> done) {
  for (const Layer& layer : image.layers) {
    if (store_.has_layer(layer)) continue;
    Error error{Errc::corrupt, "layer " + layer.digest + " went while the image was made; pull it again", 0};
    loop_.defer([done = std::move(done), error = std::move(error)] { done(std::unexpected(error)); });
    return;
  }
  seen(image.id);
  image.last_used = clock_.wall().seconds;
  for (Image& other : images_) {
    std::erase_if(other.references, [&](const std::string& r) { return contains(image.references, r); });
  }
  const auto same =
      std::find_if(images_.begin(), images_.end(), [&](const Image& i) { return i.id == image.id; });
  if (same == images_.end()) {
    images_.push_back(std::move(image));
  } else {
    add_new(same->references, image.references);
    // The newest name first, since it is what people see.
    add_new(image.repo_digests, same->repo_digests);
    same->repo_digests = std::move(image.repo_digests);
    same->manifest = image.manifest;
    same->layers = std::move(image.layers);
    same->config_size = image.config_size;
    same->pinned = same->pinned || image.pinned;
    for (const std::string& note : image.archives) {
      std::erase_if(same->archives,
                    [&](const std::string& n) { return archive_path(n) == archive_path(note); });
    }
    add_new(same->archives, image.archives);
    same->last_used = image.last_used;
  }
  save(std::move(done));
}

void ImageStore::save(std::function<void(Result<>)> done) {
  saves_.push_back({++change_, std::move(done)});
  if (!saving_) write_index();
}

void ImageStore::write_index() {
  saving_ = true;
  const uint64_t upto = change_;
  auto result = std::make_shared<Result<>>();
  save_work_.start(
      loop_,
      [result, store = store_, text = Store::render_index(images_)] { *result = store.write_index(text); },
      [this, result, upto] {
        saving_ = false;
        std::vector<Save> done;
        for (Save& s : saves_) {
          if (s.upto <= upto) done.push_back(std::move(s));
        }
        std::erase_if(saves_, [&](const Save& s) { return s.upto <= upto; });
        if (!saves_.empty()) write_index();
        for (const Save& s : done) {
          if (s.done) s.done(*result);
        }
      });
}

void ImageStore::set_in_use(std::vector<std::string> ids_and_references) {
  const int64_t now = clock_.wall().seconds;
  std::set<std::string> names;
  for (std::string& name : ids_and_references) {
    if (valid_digest(name)) {
      names.insert(std::move(name));
    } else if (const auto parsed = parse_reference(name)) {
      names.insert(parsed->digest.empty() ? parsed->text() : parsed->name() + "@" + parsed->digest);
    }
  }
  const auto touch = [&] {
    for (Image& image : images_) {
      if (!in_use(image)) continue;
      image.last_used = now;  // in memory only: it is written along with the next change
      seen(image.id);
    }
  };
  touch();  // up to now they were
  in_use_ = std::move(names);
  touch();
}

bool ImageStore::in_use(const Image& image) const {
  if (!in_use_) return false;
  if (in_use_->contains(image.id)) return true;
  const auto named = [&](const std::string& name) { return in_use_->contains(name); };
  if (std::any_of(image.references.begin(), image.references.end(), named)) return true;
  return std::any_of(image.repo_digests.begin(), image.repo_digests.end(), [&](const std::string& d) {
    return named(d) || named(d.substr(0, d.find('@') + 1) + image.manifest);
  });
}

std::vector<ImageInfo> ImageStore::list() const {
  std::vector<ImageInfo> out;
  for (const Image& image : images_) {
    out.push_back(
        {image.id, image.references, image.repo_digests, image.blob_bytes(), image.pinned, in_use(image)});
  }
  return out;
}

}  // namespace limpet::image
