#include <algorithm>
#include <set>

#include "schema/apply.h"
#include "schema/checker.h"
#include "schema/selector.h"

namespace limpet::schema {

namespace {

constexpr size_t kMaxAnnotations = 256 * 1024;

void check_owners(Checker& c, const Path& p, json::Ref owners) {
  std::string controller;
  for (json::Ref o : owners) {
    const std::string_view version = o["apiVersion"].str();
    const size_t slash = version.find('/');
    if (version.empty() || slash == version.size() - 1) {
      c.invalid(p.child("apiVersion"), version, "version must not be empty");
    }
    for (const char* field : {"kind", "name", "uid"}) {
      if (o[field].str().empty()) c.invalid(p.child(field), o[field].str(), "must not be empty");
    }
    if (version == "v1" && o["kind"].str() == "Event") {
      c.invalid(p, o, "/v1, Kind=Event is disallowed from being an owner");
    }
    if (!o["controller"].boolean()) continue;
    const std::string name = std::string(o["kind"].str()) + "/" + std::string(o["name"].str());
    if (controller.empty()) {
      controller = name;
    } else {
      c.invalid(p, owners,
                "Only one reference can have Controller set to true. Found \"true\" in references for " +
                    controller + " and " + name);
    }
  }
}

void check_finalizers(Checker& c, const Path& p, json::Ref finalizers) {
  bool orphan = false, foreground = false;
  for (json::Ref f : finalizers) {
    c.by(p, f.str(), check_qualified_name(f.str()));
    orphan |= f.str() == "orphan";
    foreground |= f.str() == "foregroundDeletion";
  }
  if (orphan && foreground) {
    c.invalid(p, finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
  }
}

void check_managed_fields(Checker& c, const Path& p, json::Ref entries) {
  if (takes_owners_away(entries)) return;
  size_t i = 0;
  for (json::Ref e : entries) {
    const Path at = p.index(i++);
    const std::string_view operation = e["operation"].str();
    if (operation != "Apply" && operation != "Update") {
      c.invalid(at.child("operation"), operation, "must be `Apply` or `Update`");
    }
    const std::string_view type = e["fieldsType"].str();
    if (!type.empty() && type != "FieldsV1") c.invalid(at.child("fieldsType"), type, "must be `FieldsV1`");
    if (e["manager"].str().size() > 128) c.too_long(at.child("manager"), 128);
    for (unsigned char ch : e["manager"].str()) {
      if (ch < 0x20 || ch == 0x7f) {
        c.invalid(at.child("manager"), e["manager"].str(), "should only contain printable characters");
        break;
      }
    }
    if (e["subresource"].str().size() > 256) c.too_long(at.child("subresource"), 256);
  }
}

void check_common(Checker& c, const Path& p, json::Ref meta) {
  check_labels(c, p.child("labels"), meta["labels"]);
  check_annotations(c, p.child("annotations"), meta["annotations"]);
  check_owners(c, p.child("ownerReferences"), meta["ownerReferences"]);
}

}  // namespace

void check_labels(Checker& c, const Path& p, json::Ref labels) {
  for (json::Ref l : labels) {
    c.by(p, l.key(), check_qualified_name(l.key()));
    c.by(p, l.str(), check_label_value(l.str()));
  }
}

void check_annotations(Checker& c, const Path& p, json::Ref annotations) {
  size_t total = 0;
  for (json::Ref a : annotations) {
    std::string key(a.key());
    total += key.size() + a.str().size();
    std::transform(key.begin(), key.end(), key.begin(), [](unsigned char ch) { return std::tolower(ch); });
    c.by(p, a.key(), check_qualified_name(key));
  }
  if (total > kMaxAnnotations) c.too_long(p, kMaxAnnotations);
}

void check_label_selector(Checker& c, const Path& p, json::Ref selector) {
  check_labels(c, p.child("matchLabels"), selector["matchLabels"]);
  size_t i = 0;
  for (json::Ref e : selector["matchExpressions"]) {
    const Path at = p.child("matchExpressions").index(i++);
    const std::string_view op = e["operator"].str();
    const size_t values = e["values"].size();
    if (op == "In" || op == "NotIn") {
      if (values == 0) c.required(at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (values > 0)
        c.forbidden(at.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      c.invalid(at.child("operator"), op, "not a valid selector operator");
    }
    c.by(at.child("key"), e["key"].str(), check_qualified_name(e["key"].str()));
    size_t v = 0;
    for (json::Ref value : e["values"])
      c.by(at.child("values").index(v++), value.str(), check_label_value(value.str()));
  }
}

void check_meta_create(Checker& c, json::Ref meta, const MetaRules& rules) {
  const Path p("metadata");
  const std::string_view generate = meta["generateName"].str(), name = meta["name"].str();
  if (!generate.empty()) c.by(p.child("generateName"), generate, check_name(rules.name, generate, true));
  if (name.empty()) {
    c.required(p.child("name"), "name or generateName is required");
  } else {
    c.by(p.child("name"), name, rules.name(name));
  }
  const std::string_view ns = meta["namespace"].str();
  if (!rules.namespaced) {
    if (!ns.empty()) c.forbidden(p.child("namespace"), "not allowed on this type");
  } else if (ns.empty()) {
    c.required(p.child("namespace"));
  } else {
    c.by(p.child("namespace"), ns, check_dns1123_label(ns));
  }
  c.non_negative(p.child("generation"), meta["generation"]);
  check_common(c, p, meta);
  check_finalizers(c, p.child("finalizers"), meta["finalizers"]);
  check_managed_fields(c, p.child("managedFields"), meta["managedFields"]);
}

void check_meta_update(Checker& c, json::Ref meta, json::Ref old) {
  const Path p("metadata");
  if (old["deletionTimestamp"].is_string()) {
    std::set<std::string> before, added;
    for (json::Ref f : old["finalizers"]) before.emplace(f.str());
    for (json::Ref f : meta["finalizers"]) {
      if (!before.contains(std::string(f.str()))) added.emplace(f.str());
    }
    std::string list;
    for (const std::string& f : added) list += (list.empty() ? "" : ", ") + json::quoted(f);
    if (!added.empty()) {
      c.forbidden(
          p.child("finalizers"),
          "no new finalizers can be added if the object is being deleted, found new finalizers []string{" +
              list + "}");
    }
  }
  if (meta["resourceVersion"].str().empty()) {
    c.invalid(p.child("resourceVersion"), "", "must be specified for an update");
  }
  if (meta["generation"].integer() < old["generation"].integer()) {
    c.invalid(p.child("generation"), meta["generation"].integer(), "must not be decremented");
  }
  for (const char* field :
       {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    c.immutable(p.child(field), meta[field], old[field]);
  }
  check_common(c, p, meta);
  check_finalizers(c, p.child("finalizers"), meta["finalizers"]);
  check_managed_fields(c, p.child("managedFields"), meta["managedFields"]);
}

}  // namespace limpet::schema
