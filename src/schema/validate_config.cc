// ConfigMap, Secret, ServiceAccount, Namespace: objects that hold configuration.
#include "schema/checker.h"

namespace limpet::schema {

namespace {

constexpr size_t kMaxData = 1024 * 1024;

// Bytes that a base64 text stands for (its validity was checked when it was decoded).
size_t decoded_size(std::string_view base64) {
  while (base64.ends_with('=')) base64.remove_suffix(1);
  return base64.size() * 3 / 4;
}

bool immutable_set(json::Ref object) { return object["immutable"].boolean(); }

// `immutable: true` freezes the data and itself.
void check_frozen(Checker& c, json::Ref object, json::Ref old, std::initializer_list<const char*> fields) {
  if (!old || !immutable_set(old)) return;
  constexpr const char* kMessage = "field is immutable when `immutable` is set";
  if (!immutable_set(object)) c.forbidden(Path("immutable"), kMessage);
  for (const char* f : fields) {
    const json::Ref a = object[f], b = old[f];
    if (a.size() != b.size() || (a && b && !a.equals(b))) c.forbidden(Path(f), kMessage);
  }
}

std::string base64_decode(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char ch : text) {
    int v;
    if (ch >= 'A' && ch <= 'Z') {
      v = ch - 'A';
    } else if (ch >= 'a' && ch <= 'z') {
      v = ch - 'a' + 26;
    } else if (ch >= '0' && ch <= '9') {
      v = ch - '0' + 52;
    } else if (ch == '+' || ch == '/') {
      v = ch == '+' ? 62 : 63;
    } else {
      continue;
    }
    bits = bits << 6 | static_cast<uint32_t>(v);
    if ((count += 6) >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xff));
    }
  }
  return out;
}

void check_docker_config(Checker& c, json::Ref data, const char* key) {
  const Path at = Path("data").key(key);
  if (!data[key]) {
    c.required(at);
    return;
  }
  const std::string text = base64_decode(data[key].str());
  const auto parsed = json::parse(text);
  if (!parsed) {
    c.invalid(at, "<secret contents redacted>", parsed.error().message);
  } else if (!parsed->ref().is_object()) {
    c.invalid(at, "<secret contents redacted>", "must be a JSON object");
  }
}

// What the type of a secret promises to its users.
void check_secret_type(Checker& c, json::Ref secret) {
  const Path data_path("data");
  const json::Ref data = secret["data"];
  const std::string_view type = secret["type"].str();
  auto need = [&](const char* key) {
    if (!data[key]) c.required(data_path.key(key));
  };
  if (type == "kubernetes.io/service-account-token") {
    constexpr const char* kName = "kubernetes.io/service-account.name";
    if (secret["metadata"]["annotations"][kName].str().empty())
      c.required(Path("metadata.annotations").key(kName));
  } else if (type == "kubernetes.io/dockercfg") {
    check_docker_config(c, data, ".dockercfg");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    check_docker_config(c, data, ".dockerconfigjson");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!data["username"] && !data["password"]) {
      need("username");
      need("password");
    }
  } else if (type == "kubernetes.io/ssh-auth") {
    if (data["ssh-privatekey"].str().empty()) c.required(data_path.key("ssh-privatekey"));
  } else if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  }
}

}  // namespace

void check_config_map(Checker& c, json::Ref object, json::Ref old) {
  size_t total = 0;
  for (json::Ref v : object["data"]) {
    c.by(Path("data").key(v.key()), v.key(), check_config_map_key(v.key()));
    if (object["binaryData"][v.key()]) {
      c.invalid(Path("data").key(v.key()), v.key(), "duplicate of key present in binaryData");
    }
    total += v.str().size();
  }
  for (json::Ref v : object["binaryData"]) {
    c.by(Path("binaryData").key(v.key()), v.key(), check_config_map_key(v.key()));
    total += decoded_size(v.str());
  }
  if (total > kMaxData) c.too_long(Path(""), kMaxData);
  check_frozen(c, object, old, {"data", "binaryData"});
}

void check_secret(Checker& c, json::Ref object, json::Ref old) {
  size_t total = 0;
  for (json::Ref v : object["data"]) {
    c.by(Path("data").key(v.key()), v.key(), check_config_map_key(v.key()));
    total += decoded_size(v.str());
  }
  if (total > kMaxData) c.too_long(Path("data"), kMaxData);
  check_secret_type(c, object);
  if (old) c.immutable(Path("type"), object["type"], old["type"]);
  check_frozen(c, object, old, {"data"});
}

void check_namespace(Checker& c, json::Ref object, json::Ref) {
  size_t i = 0;
  for (json::Ref f : object["spec"]["finalizers"]) {
    const Path at = Path("spec.finalizers").index(i++);
    c.by(at, f.str(), check_qualified_name(f.str()));
    if (f.str().find('/') == std::string_view::npos && f.str() != "kubernetes") {
      c.invalid(at, f.str(), "name is neither a standard finalizer name nor is it fully qualified");
    }
  }
}

void check_service_account(Checker&, json::Ref, json::Ref) {}  // metadata is all there is to check

}  // namespace limpet::schema
