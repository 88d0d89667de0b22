// What the validation files share: a path that grows without being printed until it is needed, and the
// collector of field errors. Borrowed views must outlive the call that they are passed to.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "schema/names.h"
#include "schema/validate.h"

namespace limpet::schema {

class Path {
 public:
  explicit Path(std::string_view root) : text_(root) {}
  Path child(std::string_view name) const {
    return Path(text_.empty() ? std::string(name) : text_ + "." + std::string(name));
  }
  Path index(size_t i) const { return Path(text_ + "[" + std::to_string(i) + "]"); }
  Path key(std::string_view k) const { return Path(text_ + "[" + std::string(k) + "]"); }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

class Checker {
 public:
  void required(const Path& p, std::string_view detail = {});
  void invalid(const Path& p, std::string_view value, std::string_view detail);
  void invalid(const Path& p, int64_t value, std::string_view detail);
  void invalid(const Path& p, json::Ref value, std::string_view detail);
  void not_supported(const Path& p, std::string_view value,
                     std::initializer_list<std::string_view> supported);
  void duplicate(const Path& p, std::string_view value);
  void forbidden(const Path& p, std::string_view detail);
  void too_long(const Path& p, size_t most);
  void not_found(const Path& p, std::string_view value);

  // `value` by a rule of names.h: each message is one error.
  void by(const Path& p, std::string_view value, const Messages& messages);
  void non_negative(const Path& p, json::Ref value);
  // A value that must be there and be one of those.
  void one_of(const Path& p, json::Ref value, std::initializer_list<std::string_view> supported);
  void immutable(const Path& p, json::Ref now, json::Ref before);  // absent and empty are the same

  FieldErrors errors;
};

// metadata of any kind.
struct MetaRules {
  bool namespaced = true;
  NameCheck name = check_dns1123_subdomain;
};
void check_meta_create(Checker& c, json::Ref meta, const MetaRules& rules);
void check_meta_update(Checker& c, json::Ref meta, json::Ref old);
void check_labels(Checker& c, const Path& p, json::Ref labels);
void check_annotations(Checker& c, const Path& p, json::Ref annotations);
void check_label_selector(Checker& c, const Path& p, json::Ref selector);

// One function per kind; `old` is missing on create.
void check_config_map(Checker& c, json::Ref object, json::Ref old);
void check_secret(Checker& c, json::Ref object, json::Ref old);
void check_namespace(Checker& c, json::Ref object, json::Ref old);
void check_service_account(Checker& c, json::Ref object, json::Ref old);
void check_node(Checker& c, json::Ref object, json::Ref old);
void check_event(Checker& c, json::Ref object, json::Ref old);
void check_pod_create(Checker& c, json::Ref pod);
void check_pod_ephemeral(Checker& c, json::Ref pod);
void check_pod_update(Checker& c, json::Ref pod, json::Ref old);
void check_pod_status(Checker& c, json::Ref pod, json::Ref old);
void check_deployment(Checker& c, json::Ref object, json::Ref old);
void check_deployment_status(Checker& c, json::Ref object, json::Ref old);
void check_replica_set(Checker& c, json::Ref object, json::Ref old);
void check_replica_set_status(Checker& c, json::Ref object);

// Parts of a pod. `volumes` is spec.volumes.
void check_pod_template(Checker& c, const Path& p, json::Ref pod_template);
void check_volumes(Checker& c, const Path& p, json::Ref volumes);
void check_containers(Checker& c, const Path& p, json::Ref spec);
void check_tolerations(Checker& c, const Path& p, json::Ref tolerations);
void check_taint_effect(Checker& c, const Path& p, json::Ref effect, bool may_be_empty);
void check_affinity(Checker& c, const Path& p, json::Ref affinity);
void check_topology_spread(Checker& c, const Path& p, json::Ref constraints);
bool no_backsteps(Checker& c, const Path& p, std::string_view path);  // false: ".." was found and reported
void check_local_path(Checker& c, const Path& p, std::string_view path);

}  // namespace limpet::schema
