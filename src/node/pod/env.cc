#include "node/pod/env.h"

#include <algorithm>

#include "schema/quantity.h"

namespace limpet::node {

namespace {

using json::Cursor;

const std::string* lookup(const Env& env, std::string_view name) {
  for (auto it = env.rbegin(); it != env.rend(); ++it) {
    if (it->first == name) return &it->second;
  }
  return nullptr;
}

std::string join(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& s : list) out += (out.empty() ? "" : ",") + s;
  return out;
}

// metadata.labels['key']: the text between the quotes, if the path is that map's.
bool map_key(std::string_view path, std::string_view map, std::string* key) {
  if (!path.starts_with(map)) return false;
  path.remove_prefix(map.size());
  if (path.size() < 4 || !path.starts_with("['") || !path.ends_with("']")) return false;
  *key = path.substr(2, path.size() - 4);
  return true;
}

struct Kind {
  const char* resource;  // in the store
  const char* lower;     // `configmap "x" not found`
  const char* title;     // `key k in ConfigMap ns/x`
};
constexpr Kind kConfigMap{"configmaps", "configmap", "ConfigMap"};
constexpr Kind kSecret{"secrets", "secret", "Secret"};

// The text of a value in `data`, or the bytes of a secret's or a binaryData entry.
Result<std::string> data_value(const Kind& kind, Cursor value) {
  if (std::string_view(kind.resource) == "secrets") return base64_decode(value.str());
  return value.str();
}

std::unexpected<Error> not_found(const Kind& kind, const std::string& name) {
  return fail(Errc::not_found, strf("%s \"%s\" not found", kind.lower, name.c_str()));
}

Result<> add_all(const Kind& kind, Cursor ref, const std::string& prefix, const FindObject& find, Env* env) {
  const std::string name = ref["name"].str();
  const SharedBytes object = find(kind.resource, name);
  if (!object) {
    if (ref["optional"].boolean()) return {};
    return not_found(kind, name);
  }
  Result<> outcome;
  Cursor(*object)["data"].each([&](std::string_view key, Cursor value) {
    auto text = data_value(kind, value);
    if (!text) {
      outcome = std::unexpected(std::move(text).error().with(strf("%s \"%s\"", kind.lower, name.c_str())));
      return false;
    }
    if (text->find('\0') == std::string::npos) env->emplace_back(prefix + std::string(key), std::move(*text));
    return true;
  });
  return outcome;
}

// nullopt: the reference is optional and what it names is not there, so the variable is not set.
Result<std::optional<std::string>> key_value(const Kind& kind, Cursor ref, std::string_view ns,
                                             const FindObject& find) {
  const std::string name = ref["name"].str(), key = ref["key"].str();
  const bool optional = ref["optional"].boolean();
  const SharedBytes object = find(kind.resource, name);
  if (!object) {
    if (optional) return std::optional<std::string>();
    return not_found(kind, name);
  }
  Cursor value = Cursor(*object)["data"][key];
  if (!value) {
    if (optional) return std::optional<std::string>();
    return fail(Errc::not_found, strf("couldn't find key %s in %s %.*s/%s", key.c_str(), kind.title,
                                      static_cast<int>(ns.size()), ns.data(), name.c_str()));
  }
  TRY(std::string text, data_value(kind, value));
  return std::optional(std::move(text));
}

Result<std::optional<std::string>> from_source(Cursor pod, Cursor container, Cursor source,
                                               const DownwardFacts& facts, const FindObject& find) {
  if (const Cursor f = source["fieldRef"]) {
    TRY(std::string text, downward_field(pod, facts, f["fieldPath"].str()));
    return std::optional(std::move(text));
  }
  if (const Cursor r = source["resourceFieldRef"]) {
    Cursor of = container;
    const std::string other = r["containerName"].str();
    if (!other.empty()) {
      pod["spec"]["containers"].each([&](std::string_view, Cursor c) {
        if (c["name"].str_equals(other)) of = c;
        return true;
      });
    }
    TRY(std::string text, downward_resource(of, facts, r["resource"].str(), r["divisor"].str("0")));
    return std::optional(std::move(text));
  }
  const std::string ns = pod["metadata"]["namespace"].str();
  if (const Cursor c = source["configMapKeyRef"]) return key_value(kConfigMap, c, ns, find);
  if (const Cursor s = source["secretKeyRef"]) return key_value(kSecret, s, ns, find);
  return fail(Errc::invalid_argument, "environment variable without a known source");
}

}  // namespace

std::string expand(std::string_view text, const Env& env) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '$' || i + 1 >= text.size()) {
      out += text[i];
    } else if (text[i + 1] == '$') {
      out += '$';
      i++;
    } else if (const size_t end = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
               end != std::string_view::npos) {
      const std::string_view name = text.substr(i + 2, end - i - 2);
      const std::string* value = lookup(env, name);
      out += value ? std::string_view(*value) : text.substr(i, end - i + 1);
      i = end;
    } else {
      out += '$';
    }
  }
  return out;
}

Result<std::string> downward_field(Cursor pod, const DownwardFacts& facts, std::string_view path) {
  const Cursor meta = pod["metadata"];
  std::string key;
  if (path == "metadata.name") return meta["name"].str();
  if (path == "metadata.namespace") return meta["namespace"].str();
  if (path == "metadata.uid") return meta["uid"].str();
  if (map_key(path, "metadata.labels", &key)) return meta["labels"][key].str();
  if (map_key(path, "metadata.annotations", &key)) return meta["annotations"][key].str();
  if (path == "spec.nodeName") return facts.node_name;
  if (path == "spec.serviceAccountName") return pod["spec"]["serviceAccountName"].str();
  if (path == "status.podIP") return facts.pod_ips.empty() ? std::string() : facts.pod_ips[0];
  if (path == "status.podIPs") return join(facts.pod_ips);
  if (path == "status.hostIP") return facts.host_ips.empty() ? std::string() : facts.host_ips[0];
  if (path == "status.hostIPs") return join(facts.host_ips);
  return fail(Errc::invalid_argument, "unsupported fieldPath: " + std::string(path));
}

Result<std::string> downward_resource(Cursor container, const DownwardFacts& facts, std::string_view resource,
                                      std::string_view divisor_text) {
  const size_t dot = resource.find('.');
  const std::string list(resource.substr(0, dot));
  const std::string name(dot == std::string_view::npos ? "" : resource.substr(dot + 1));
  if ((list != "limits" && list != "requests") || name.empty()) {
    return fail(Errc::invalid_argument, "unsupported container resource: " + std::string(resource));
  }
  const bool cpu = name == "cpu";
  int64_t divisor = cpu ? 1000 : 1;
  if (const auto q = schema::Quantity::parse(divisor_text); q && !q->is_zero()) {
    divisor = cpu ? q->milli_value() : q->value();
  }
  int64_t amount = 0;
  const Cursor value = container["resources"][list][name];
  if (value) {
    const auto q = schema::Quantity::parse_or_zero(value.str());
    amount = cpu ? q.milli_value() : q.value();
  } else if (list == "limits") {
    amount = cpu ? facts.node_cpu_millis : name == "memory" ? facts.node_memory_bytes : 0;
  }
  return std::to_string((amount + divisor - 1) / std::max<int64_t>(divisor, 1));
}

Result<Env> container_env(Cursor pod, Cursor container, const DownwardFacts& facts, const FindObject& find) {
  Env env;
  Result<> outcome;
  container["envFrom"].each([&](std::string_view, Cursor from) {
    const std::string prefix = from["prefix"].str();
    if (from["configMapRef"]) outcome = add_all(kConfigMap, from["configMapRef"], prefix, find, &env);
    if (outcome && from["secretRef"]) outcome = add_all(kSecret, from["secretRef"], prefix, find, &env);
    return outcome.has_value();
  });
  if (!outcome) return std::unexpected(std::move(outcome).error());
  container["env"].each([&](std::string_view, Cursor one) {
    const std::string name = one["name"].str();
    if (const Cursor source = one["valueFrom"]) {
      auto value = from_source(pod, container, source, facts, find);
      if (!value) {
        outcome = std::unexpected(std::move(value).error());
        return false;
      }
      if (*value) merge_env(&env, {{name, std::move(**value)}});
    } else {
      merge_env(&env, {{name, expand(one["value"].str(), env)}});
    }
    return true;
  });
  if (!outcome) return std::unexpected(std::move(outcome).error());
  return env;
}

void merge_env(Env* base, const Env& more) {
  for (const auto& [name, value] : more) {
    const auto it = std::find_if(base->begin(), base->end(), [&](const auto& e) { return e.first == name; });
    if (it == base->end()) {
      base->emplace_back(name, value);
    } else {
      it->second = value;
    }
  }
}

}  // namespace limpet::node
