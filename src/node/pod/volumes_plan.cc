#include <algorithm>
#include <set>

#include "node/pod/volumes.h"
#include "schema/quantity.h"

namespace limpet::node {

namespace {

using json::Cursor;

struct Source {
  const char* resource;
  const char* lower;
};

std::unexpected<Error> set_up_failed(const std::string& volume, const std::string& why) {
  return fail(Errc::not_found, "MountVolume.SetUp failed for volume \"" + volume + "\" : " + why);
}

// A relative path that stays below its directory.
bool safe_path(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.size() > 4096) return false;
  size_t at = 0;
  while (at <= path.size()) {
    size_t slash = path.find('/', at);
    if (slash == std::string_view::npos) slash = path.size();
    const std::string_view part = path.substr(at, slash - at);
    if (part.empty() || part == "." || part.starts_with("..")) return false;
    at = slash + 1;
  }
  return true;
}

TokenWish wish_of(const std::string& volume, Cursor token) {
  return {volume, token["audience"].str(), token["expirationSeconds"].integer(3600)};
}

class Planner {
 public:
  Planner(const PodSpec& pod, const DownwardFacts& facts, const FindObject& find)
      : pod_(*pod.bytes), facts_(facts), find_(find) {}

  Result<VolumePlan> plan(Cursor volume) {
    VolumePlan p;
    p.name = volume["name"].str();
    p.fs_group = pod_["spec"]["securityContext"]["fsGroup"].integer(-1);
    if (const Cursor e = volume["emptyDir"]) {
      p.kind = e["medium"].str_equals("Memory") ? VolumePlan::Kind::memory : VolumePlan::Kind::empty_dir;
      if (e["sizeLimit"]) p.size_limit = schema::Quantity::parse_or_zero(e["sizeLimit"].str()).value();
      return p;
    }
    if (const Cursor h = volume["hostPath"]) {
      p.kind = VolumePlan::Kind::host_path;
      p.host_path = h["path"].str();
      p.host_path_type = h["type"].str();
      return p;
    }
    p.kind = VolumePlan::Kind::files;
    if (const Cursor projected = volume["projected"]) {
      const int64_t mode = projected["defaultMode"].integer(0644);
      CHECK_OK(each(projected["sources"], [&](Cursor s) { return source(p.name, s, mode, &p.files); }));
      return p;
    }
    CHECK_OK(source(p.name, volume, -1, &p.files));
    return p;
  }

 private:
  template <class F>
  static Result<> each(Cursor list, F f) {
    Result<> outcome;
    list.each([&](std::string_view, Cursor item) {
      outcome = f(item);
      return outcome.has_value();
    });
    return outcome;
  }

  // One of configMap, secret, downwardAPI; inside projected volumes their mode comes from outside.
  Result<> source(const std::string& volume, Cursor s, int64_t mode, std::vector<VolumeFile>* out) {
    const auto mode_of = [&](Cursor c) {
      return static_cast<uint32_t>(mode >= 0 ? mode : c["defaultMode"].integer(0644));
    };
    if (const Cursor c = s["configMap"]) {
      return object({"configmaps", "configmap"}, volume, c, c["name"].str(), mode_of(c), out);
    }
    if (const Cursor c = s["secret"]) {
      const std::string name = c["secretName"] ? c["secretName"].str() : c["name"].str();
      return object({"secrets", "secret"}, volume, c, name, mode_of(c), out);
    }
    if (const Cursor c = s["downwardAPI"]) return downward(volume, c, mode_of(c), out);
    if (const Cursor c = s["serviceAccountToken"]) return token(volume, c, mode_of(c), out);
    return set_up_failed(volume, "this kind of volume is not supported on this device");
  }

  Result<> object(Source what, const std::string& volume, Cursor c, const std::string& name, uint32_t mode,
                  std::vector<VolumeFile>* out) {
    const bool optional = c["optional"].boolean();
    const SharedBytes bytes = find_(what.resource, name);
    if (!bytes) {
      if (optional) return {};
      return set_up_failed(volume, strf("%s \"%s\" not found", what.lower, name.c_str()));
    }
    std::map<std::string, std::string> values;
    CHECK_OK(read_values(what, volume, Cursor(*bytes), &values));
    if (!c["items"]) {
      for (auto& [key, value] : values) out->push_back({key, std::move(value), mode});
      return {};
    }
    return each(c["items"], [&](Cursor item) -> Result<> {
      const std::string key = item["key"].str(), path = item["path"].str();
      const auto it = values.find(key);
      if (it == values.end()) {
        if (optional) return {};
        return set_up_failed(volume, "references non-existent config key: " + key);
      }
      if (!safe_path(path)) return set_up_failed(volume, "path \"" + path + "\" leaves the volume");
      out->push_back({path, it->second, static_cast<uint32_t>(item["mode"].integer(mode))});
      return {};
    });
  }

  static Result<> read_values(Source what, const std::string& volume, Cursor object,
                              std::map<std::string, std::string>* out) {
    const bool encoded = std::string_view(what.resource) == "secrets";
    const auto read = [&](Cursor data, bool base64) {
      Result<> outcome;
      data.each([&](std::string_view key, Cursor value) {
        auto text = base64 ? base64_decode(value.str()) : Result<std::string>(value.str());
        if (!text) outcome = set_up_failed(volume, "the value of key " + std::string(key) + " is not base64");
        if (text && safe_path(key)) (*out)[std::string(key)] = std::move(*text);
        return outcome.has_value();
      });
      return outcome;
    };
    CHECK_OK(read(object["data"], encoded));
    return read(object["binaryData"], true);
  }

  Result<> token(const std::string& volume, Cursor c, uint32_t mode, std::vector<VolumeFile>* out) {
    const std::string path = c["path"].str();
    if (!safe_path(path)) return set_up_failed(volume, "path \"" + path + "\" leaves the volume");
    const SharedBytes text = find_("tokens", wish_of(volume, c).name());
    if (!text) return set_up_failed(volume, "no token of the service account");
    out->push_back({path, *text, mode});
    return {};
  }

  Result<> downward(const std::string& volume, Cursor c, uint32_t mode, std::vector<VolumeFile>* out) {
    return each(c["items"], [&](Cursor item) -> Result<> {
      const std::string path = item["path"].str();
      if (!safe_path(path)) return set_up_failed(volume, "path \"" + path + "\" leaves the volume");
      auto text = downward_value(item);
      if (!text) return std::unexpected(std::move(text).error().with("volume \"" + volume + "\""));
      out->push_back({path, std::move(*text), static_cast<uint32_t>(item["mode"].integer(mode))});
      return {};
    });
  }

  Result<std::string> downward_value(Cursor item) {
    if (const Cursor r = item["resourceFieldRef"]) {
      Cursor of;
      pod_["spec"]["containers"].each([&](std::string_view, Cursor container) {
        if (container["name"].str() == r["containerName"].str()) of = container;
        return true;
      });
      return downward_resource(of, facts_, r["resource"].str(), r["divisor"].str("0"));
    }
    const std::string path = item["fieldRef"]["fieldPath"].str();
    if (path != "metadata.labels" && path != "metadata.annotations")
      return downward_field(pod_, facts_, path);
    std::string text;  // key="value" lines, sorted by key
    std::map<std::string, std::string> sorted;
    pod_["metadata"][path.substr(9)].each([&](std::string_view k, Cursor v) {
      sorted[std::string(k)] = v.str();
      return true;
    });
    for (const auto& [k, v] : sorted) text += (text.empty() ? "" : "\n") + k + "=" + json::quoted(v);
    return text;
  }

  Cursor pod_;
  const DownwardFacts& facts_;
  const FindObject& find_;
};

}  // namespace

Result<std::vector<VolumePlan>> plan_volumes(const PodSpec& pod, const DownwardFacts& facts,
                                             const FindObject& find) {
  std::vector<VolumePlan> plans;
  Planner planner(pod, facts, find);
  Result<> outcome;
  Cursor(*pod.bytes)["spec"]["volumes"].each([&](std::string_view, Cursor volume) {
    auto p = planner.plan(volume);
    if (!p) {
      outcome = std::unexpected(std::move(p).error());
      return false;
    }
    plans.push_back(std::move(*p));
    return true;
  });
  if (!outcome) return std::unexpected(std::move(outcome).error());
  return plans;
}

std::vector<TokenWish> wished_tokens(Cursor pod) {
  std::vector<TokenWish> wishes;
  pod["spec"]["volumes"].each([&](std::string_view, Cursor volume) {
    volume["projected"]["sources"].each([&](std::string_view, Cursor s) {
      if (s["serviceAccountToken"]) wishes.push_back(wish_of(volume["name"].str(), s["serviceAccountToken"]));
      return true;
    });
    return true;
  });
  return wishes;
}

bool holds_written_files(Cursor volume) {
  return volume["configMap"] || volume["secret"] || volume["projected"] || volume["downwardAPI"];
}

std::vector<std::string> mentioned_objects(Cursor pod) {
  std::set<std::string> names;
  const auto add = [&](const char* resource, Cursor name) {
    if (name && !name.str().empty()) names.insert(std::string(resource) + "/" + name.str());
  };
  const auto walk = [&](Cursor list, auto f) {
    list.each([&](std::string_view, Cursor item) {
      f(item);
      return true;
    });
  };
  const auto container = [&](Cursor c) {
    walk(c["env"], [&](Cursor e) {
      add("configmaps", e["valueFrom"]["configMapKeyRef"]["name"]);
      add("secrets", e["valueFrom"]["secretKeyRef"]["name"]);
    });
    walk(c["envFrom"], [&](Cursor e) {
      add("configmaps", e["configMapRef"]["name"]);
      add("secrets", e["secretRef"]["name"]);
    });
  };
  const Cursor spec = pod["spec"];
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
    walk(spec[list], container);
  walk(spec["imagePullSecrets"], [&](Cursor s) { add("secrets", s["name"]); });
  walk(spec["volumes"], [&](Cursor v) {
    add("configmaps", v["configMap"]["name"]);
    add("secrets", v["secret"]["secretName"]);
    walk(v["projected"]["sources"], [&](Cursor s) {
      add("configmaps", s["configMap"]["name"]);
      add("secrets", s["secret"]["name"]);
    });
  });
  return {names.begin(), names.end()};
}

}  // namespace limpet::node
