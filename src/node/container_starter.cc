#include "node/container_starter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "node/pod/container_config.h"

namespace limpet::node {

namespace {

// What the runtime room hands back after a restart of the daemon.
std::string meta_text(const ContainerSpec& spec, const ContainerRecord& r) {
  json::Writer w;
  w.begin_object().field("container", spec.name).field("attempt", r.restart_count).field("image", spec.image);
  w.field("imageID", r.image_id).field("repoDigest", r.repo_digest).end_object();
  return w.take();
}

std::string new_id(Random& random) {
  char bytes[16];
  random.fill(bytes, sizeof bytes);
  return hex({bytes, sizeof bytes});
}

std::string seconds_text(int64_t ms) {
  return ms < 1000 ? strf("%lldms", static_cast<long long>(ms))
                   : strf("%.3gs", static_cast<double>(ms) / 1000);
}

constexpr int64_t first_progress_ms = 30'000;
constexpr int64_t max_progress_ms = 300'000;

std::string progress_text(const PullProgress& p) {
  const auto mib = [](uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  return strf("%.1f of %.1f MiB (%d%%), %zu of %zu layers", mib(p.done), mib(p.total),
              static_cast<int>(100 * mib(p.done) / mib(p.total)), p.layers_done, p.layers);
}

// Pull secrets hold the registry credentials under one of two keys.
std::vector<std::string> docker_configs(json::Cursor pod, const ObjectMap& objects) {
  std::vector<std::string> out;
  pod["spec"]["imagePullSecrets"].each([&](std::string_view, json::Cursor s) {
    const auto it = objects.find("secrets/" + s["name"].str());
    if (it == objects.end()) return true;
    for (const char* key : {".dockerconfigjson", ".dockercfg"}) {
      const json::Cursor value = json::Cursor(*it->second)["data"][key];
      if (!value) continue;
      if (auto text = base64_decode(value.str())) out.push_back(std::move(*text));
    }
    return true;
  });
  return out;
}

// An empty file for the container to leave its last words in, fresh for each run.
Result<std::string> make_termination_log(const std::string& dir, const std::string& id) {
  CHECK_OK(make_directories(dir, 0755));
  const std::string path = dir + "/" + id + ".log";
  const UniqueFd fd(open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return fail_errno(errno, "create " + path);
  fchmod(fd.get(), 0666);  // any user of the container may write it
  return path;
}

}  // namespace

ContainerStarter::ContainerStarter(PodWorker& worker, const ContainerSpec& spec)
    : worker_(worker), spec_(spec) {}

void ContainerStarter::begin() {
  std::vector<std::string> names = mentioned_objects(json::Cursor(*worker_.spec_.bytes));
  if (names.empty()) {
    fetched(ObjectMap());
    return;
  }
  operation_ = worker_.services_.objects.fetch(
      worker_.spec_.ns, std::move(names), [this](Result<ObjectMap> objects) { fetched(std::move(objects)); });
}

void ContainerStarter::fail(const std::string& reason, const std::string& message) {
  worker_.container_failed(spec_.name, reason, message);  // destroys this
}

void ContainerStarter::fetched(Result<ObjectMap> objects) {
  if (!objects) return fail("CreateContainerConfigError", objects.error().message);
  objects_ = std::move(*objects);
  find_image();
}

void ContainerStarter::find_image() {
  auto& services = worker_.services_;
  const auto present = services.images.find(spec_.image);
  if (present && !worker_.record(spec_.name).damage_evidence.empty()) return check_image(present->image_id);
  if (spec_.pull_policy == "Never" && !present) {
    const std::string text =
        "Container image \"" + spec_.image + "\" is not present with pull policy of Never";
    services.events.warning(worker_.reference(spec_.name), "ErrImageNeverPull", text);
    return fail("ErrImageNeverPull", text);
  }
  ContainerRecord& r = worker_.record(spec_.name);
  const bool same = present && (present->repo_digest == r.repo_digest || present->image_id == r.image_id);
  if (std::exchange(r.interrupted, false) && same && spec_.pull_policy == "Always") {
    services.events.normal(
        worker_.reference(spec_.name), "Pulled",
        "Container image \"" + spec_.image + "\" is on the device and ran here before it stopped");
    return configure(*present);
  }
  if (present && spec_.pull_policy != "Always") {
    services.events.normal(worker_.reference(spec_.name), "Pulled",
                           "Container image \"" + spec_.image + "\" already present on machine");
    return configure(*present);
  }
  pull();
}

// The last start, or run, ended as one does whose image is damaged. Once for each such end, so no more often
// than the back-off lets it start; the start goes on whatever comes of it.
void ContainerStarter::check_image(const std::string& image_id) {
  auto& services = worker_.services_;
  const std::string evidence = std::exchange(worker_.record(spec_.name).damage_evidence, "");
  services.events.normal(worker_.reference(spec_.name), "CheckingImage",
                         "Looking whether image \"" + spec_.image +
                             "\" on the device is damaged, as it might be by this: " + evidence);
  operation_ = services.images.repair(image_id, [this](Result<> checked) {
    const std::unique_ptr<Operation> over = std::move(operation_);  // we are inside it
    auto& s = worker_.services_;
    if (checked) {
      s.events.normal(worker_.reference(spec_.name), "CheckedImage",
                      "Image \"" + spec_.image + "\" on the device is whole");
    } else {
      s.events.warning(
          worker_.reference(spec_.name), "DamagedImage",
          "Image \"" + spec_.image + "\" on the device cannot be made whole: " + checked.error().message);
    }
    find_image();
  });
}

void ContainerStarter::pull() {
  auto& services = worker_.services_;
  services.events.normal(worker_.reference(spec_.name), "Pulling", "Pulling image \"" + spec_.image + "\"");
  const int64_t began_ms = services.clock.monotonic_ms();
  PullRequest request{spec_.image, docker_configs(json::Cursor(*worker_.spec_.bytes), objects_), {}};
  request.progress = [this, next_ms = began_ms + first_progress_ms,
                      wait_ms = first_progress_ms](const PullProgress& p) mutable {
    const int64_t now = worker_.services_.clock.monotonic_ms();
    if (now < next_ms || p.total == 0) return;
    wait_ms = std::min(2 * wait_ms, max_progress_ms);
    next_ms = now + wait_ms;
    worker_.services_.events.normal(worker_.reference(spec_.name), "Pulling",
                                    "Pulling image \"" + spec_.image + "\": " + progress_text(p));
  };
  operation_ = services.images.pull(
      std::move(request), [this, began_ms](Result<ImageRoot> r) { pulled(std::move(r), began_ms); });
}

void ContainerStarter::pulled(Result<ImageRoot> root, int64_t began_ms) {
  auto& services = worker_.services_;
  const client::ObjectRef about = worker_.reference(spec_.name);
  if (root) {
    services.events.normal(about, "Pulled",
                           "Successfully pulled image \"" + spec_.image + "\" in " +
                               seconds_text(services.clock.monotonic_ms() - began_ms));
    return configure(std::move(*root));
  }
  const Error& e = root.error();
  services.events.warning(about, "Failed", "Failed to pull image \"" + spec_.image + "\": " + e.message);
  // The device is autonomous: with no registry in reach, what is here is good enough for what ran before.
  const bool unreachable = e.code == Errc::unavailable || e.code == Errc::timeout || e.code == Errc::io;
  if (const auto present = unreachable ? services.images.find(spec_.image) : std::nullopt) {
    services.events.warning(
        about, "PullSkipped",
        "The registry cannot be reached: using the image \"" + spec_.image + "\" that is on the device");
    return configure(*present);
  }
  const char* reason = e.code == Errc::invalid_argument ? "InvalidImageName" : "ErrImagePull";
  services.events.warning(about, "Failed", std::string("Error: ") + reason);
  fail(reason, e.message);
}

void ContainerStarter::configure(ImageRoot image) {
  auto& w = worker_;
  ContainerInputs in;
  in.facts = w.facts();
  in.find = [this](std::string_view kind, std::string_view name) {
    const auto it = objects_.find(std::string(kind) + "/" + std::string(name));
    return it == objects_.end() ? SharedBytes() : it->second;
  };
  in.volumes = w.volume_paths_;
  in.etc_hosts = w.run_path("hosts");
  in.resolv_conf = w.run_path("resolv.conf");
  in.hostname_file = w.run_path("hostname");
  id_ = new_id(w.services_.random);
  auto log = make_termination_log(w.run_path("termination"), id_);
  if (!log) return fail("CreateContainerConfigError", log.error().message);
  in.termination_log = *log;
  const json::Cursor profile =
      container_json(w.spec_, spec_)["securityContext"]["seccompProfile"]["localhostProfile"];
  const json::Cursor pod_profile =
      json::Cursor(*w.spec_.bytes)["spec"]["securityContext"]["seccompProfile"]["localhostProfile"];
  for (const json::Cursor& p : {profile, pod_profile}) {
    const std::string name = p.str();
    if (name.empty() || name.find("..") != std::string::npos || name[0] == '/') continue;
    if (auto text = read_file(w.services_.options.seccomp_dir + "/" + name, 1 << 20)) {
      in.localhost_profiles[name] = std::move(*text);
    }
  }
  ContainerRecord& r = w.record(spec_.name);
  r.image_id = image.image_id;
  r.repo_digest = image.repo_digest;
  r.image = spec_.image;
  if (w.on_image) w.on_image();  // before anybody thinks that it is not in use
  in.image = std::move(image);
  auto config = container_config(w.spec_, spec_, in);
  if (!config) {
    const std::string text = config.error().message;
    w.services_.events.warning(w.reference(spec_.name), "Failed", "Error: " + text);
    return fail("CreateContainerConfigError", text);
  }
  create(std::move(*config));
}

void ContainerStarter::create(ContainerConfig config) {
  auto& w = worker_;
  ContainerRecord& r = w.record(spec_.name);
  const bool ran_before = r.ran_before;
  if (r.ran_before) {
    r.restart_count++;
    w.services_.db.put_restart_count(w.spec_.uid, spec_.name, r.restart_count);
  }
  r.ran_before = true;
  config.id = id_;
  config.meta = meta_text(spec_, r);
  config.log_path = w.log_path(spec_.name, false);
  making_ = true;
  w.runs_[spec_.name].push_back(id_);
  r.id = id_;
  w.services_.db.put_restart_asked(w.spec_.uid, spec_.name, "");  // this is what was asked for
  w.services_.runtime.create(std::move(config), [this, ran_before, alive = weak_from_this()](Result<> done) {
    const auto self = alive.lock();
    if (!self) return;
    const client::ObjectRef about = worker_.reference(spec_.name);
    if (!done) {
      worker_.services_.events.warning(about, "Failed", "Error: " + done.error().message);
      std::erase(worker_.runs_[spec_.name], id_);
      if (done.error().code == Errc::invalid_argument) {
        // Refused before anything was made: no run, so that the next attempt is no restart either.
        ContainerRecord& refused = worker_.record(spec_.name);
        if (ran_before) refused.restart_count--;
        refused.ran_before = ran_before;
      }
      // What the runtime itself refuses (no such program in the image, say) shows when a container is made
      // with crun and runc, and counts as a run that failed, as people know it.
      return fail(
          done.error().code == Errc::invalid_argument ? "CreateContainerConfigError" : "RunContainerError",
          done.error().message);
    }
    worker_.services_.events.normal(about, "Created", "Created container: " + spec_.name);
    start();
  });
}

void ContainerStarter::start() {
  worker_.services_.runtime.start(id_, [this, alive = weak_from_this()](Result<> done) {
    const auto self = alive.lock();
    if (!self) return;
    const client::ObjectRef about = worker_.reference(spec_.name);
    if (!done) {
      worker_.services_.events.warning(about, "Failed", "Error: " + done.error().message);
      return fail("RunContainerError", done.error().message);
    }
    worker_.services_.events.normal(about, "Started", "Started container " + spec_.name);
    post_start();
  });
}

void ContainerStarter::post_start() {
  auto& w = worker_;
  const bool ended = w.record(spec_.name).phase != ContainerRecord::Phase::starting;
  if (ended || spec_.post_start.kind == Handler::Kind::none) return w.container_started(spec_.name);
  in_hook_ = true;
  const std::string ip = w.state_.ips.empty() ? "127.0.0.1" : w.state_.ips[0];
  // Kubernetes gives the hook no deadline of its own; a stop, or the container's exit, ends it at once.
  operation_ =
      run_handler(w.services_.loop, w.services_.runtime, spec_.post_start,
                  {id_, ip, container_json(w.spec_, spec_), w.services_.probe_dialer}, 600'000,
                  [this](ProbeOutcome outcome) {
                    if (outcome.success) return worker_.container_started(spec_.name);
                    worker_.services_.events.warning(worker_.reference(spec_.name), "FailedPostStartHook",
                                                     "PostStartHook failed: " + outcome.message);
                    PodWorker& worker = worker_;
                    const Stop stop{spec_.name, worker.spec_.termination_grace_s, "FailedPostStartHook"};
                    worker.container_started(stop.container);  // destroys this
                    worker.stop_container(stop);
                  });
}

}  // namespace limpet::node
