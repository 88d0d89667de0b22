#include "api/pod_target.h"

#include "api/object.h"

namespace limpet::api {
namespace {

struct Names {
  std::vector<std::string> regular, init, ephemeral;
  bool has(std::string_view name) const {
    for (const auto* list : {&regular, &init, &ephemeral}) {
      for (const std::string& n : *list) {
        if (n == name) return true;
      }
    }
    return false;
  }
};

std::vector<std::string> names(json::Cursor list) {
  std::vector<std::string> out;
  list.each([&out](std::string_view, json::Cursor c) {
    out.push_back(c["name"].str());
    return true;
  });
  return out;
}

std::string joined(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& s : list) out += (out.size() > 1 ? " " : "") + s;
  return out + "]";
}

}  // namespace

Outcome<ContainerRef> pick_container(std::string_view stored_pod, std::string_view wanted, bool logs) {
  json::Cursor pod(stored_pod), spec = pod["spec"];
  Meta meta = read_meta(stored_pod);
  ContainerRef c{meta.ns, meta.name, meta.uid, spec["nodeName"].str(), std::string(wanted)};
  Names n{names(spec["containers"]), names(spec["initContainers"]), names(spec["ephemeralContainers"])};
  if (c.container.empty()) {
    std::string annotated = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].str();
    if (!annotated.empty() && n.has(annotated)) {
      c.container = annotated;
    } else if (n.regular.size() == 1) {
      c.container = n.regular[0];
    } else {
      std::string m =
          "a container name must be specified for pod " + meta.name + ", choose one of: " + joined(n.regular);
      if (!n.init.empty()) m += " or one of the init containers: " + joined(n.init);
      return std::unexpected(status::bad_request(std::move(m)));
    }
  } else if (!n.has(c.container)) {
    return std::unexpected(
        status::bad_request("container " + c.container + " is not valid for pod " + meta.name));
  }
  if (c.node.empty()) {
    return std::unexpected(status::bad_request(logs ? "container \"" + c.container + "\" in pod \"" +
                                                          meta.name +
                                                          "\" is waiting to start: the pod is not scheduled"
                                                    : "pod " + meta.name + " does not have a host assigned"));
  }
  return c;
}

void find_container(CallPtr call, std::function<void(Outcome<ContainerRef>)> done) {
  if (!call->core.nodes) return done(std::unexpected(status::unavailable("no device is there to ask", 0)));
  std::string key = object_key(*call->resource, call->ns(), call->info.name);
  call->core.store.durable().get(key, [call, done = std::move(done)](Result<std::optional<store::Item>> got) {
    if (!got) return done(std::unexpected(status::from_error(got.error())));
    if (!*got) return done(std::unexpected(status::not_found(*call->resource, call->info.name)));
    bool logs = call->info.subresource == "log";
    std::string_view wanted = call->query().get("container");
    Outcome<ContainerRef> c = pick_container(*(*got)->value, wanted, logs);
    if (c && !logs) {
      std::string phase = json::Cursor(*(*got)->value)["status"]["phase"].str();
      if (phase == "Succeeded" || phase == "Failed") {
        c = std::unexpected(status::bad_request(
            "cannot exec into a container in a completed pod; current phase is " + phase));
      }
    }
    done(std::move(c));
  });
}

}  // namespace limpet::api
