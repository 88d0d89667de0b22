#include <set>

#include "schema/checker.h"
#include "schema/quantity.h"

namespace limpet::schema {

bool no_backsteps(Checker& c, const Path& p, std::string_view path) {
  std::string_view rest = path;
  for (;;) {
    const size_t slash = rest.find('/');
    if (rest.substr(0, slash) == "..") {
      c.invalid(p, path, "must not contain '..'");
      return false;
    }
    if (slash == std::string_view::npos) return true;
    rest.remove_prefix(slash + 1);
  }
}

void check_local_path(Checker& c, const Path& p, std::string_view path) {
  if (path.starts_with('/')) c.invalid(p, path, "must be a relative path");
  no_backsteps(c, p, path);
}

namespace {

void check_mode(Checker& c, const Path& p, json::Ref mode) {
  if (mode && (mode.integer() < 0 || mode.integer() > 0777)) {
    c.invalid(p, mode.integer(), "must be a number between 0 and 0777 (octal), both inclusive");
  }
}

// The files of configMap, secret and their projections.
void check_items(Checker& c, const Path& p, json::Ref items) {
  size_t i = 0;
  for (json::Ref item : items) {
    const Path at = p.index(i++);
    if (item["key"].str().empty()) c.required(at.child("key"));
    const std::string_view path = item["path"].str();
    if (path.empty()) {
      c.required(at.child("path"));
    } else {
      check_local_path(c, at.child("path"), path);
      // ".." as the start of a name marks the writer's own links.
      if (path.starts_with("..") && path != ".." && !path.starts_with("../")) {
        c.invalid(at.child("path"), path, "must not start with '..'");
      }
    }
    check_mode(c, at.child("mode"), item["mode"]);
  }
}

void check_downward(Checker& c, const Path& p, json::Ref items) {
  size_t i = 0;
  for (json::Ref item : items) {
    const Path at = p.index(i++);
    if (item["path"].str().empty()) {
      c.required(at.child("path"));
    } else {
      check_local_path(c, at.child("path"), item["path"].str());
    }
    const bool field = item["fieldRef"].is_object(), resource = item["resourceFieldRef"].is_object();
    if (field && resource) {
      c.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (!field && !resource) {
      c.required(at, "one of fieldRef and resourceFieldRef is required");
    } else if (field && item["fieldRef"]["fieldPath"].str().empty()) {
      c.required(at.child("fieldRef").child("fieldPath"));
    } else if (resource && item["resourceFieldRef"]["containerName"].str().empty()) {
      c.required(at.child("resourceFieldRef").child("containerName"));
    }
    check_mode(c, at.child("mode"), item["mode"]);
  }
}

void check_projected(Checker& c, const Path& p, json::Ref projected) {
  check_mode(c, p.child("defaultMode"), projected["defaultMode"]);
  size_t i = 0;
  for (json::Ref source : projected["sources"]) {
    const Path at = p.child("sources").index(i++);
    int kinds = 0;
    for (const char* kind : {"secret", "configMap", "downwardAPI", "serviceAccountToken",
                             "clusterTrustBundle", "podCertificate"}) {
      const json::Ref s = source[kind];
      if (!s.is_object()) continue;
      const Path here = at.child(kind);
      if (++kinds > 1) {
        c.forbidden(here, "may not specify more than 1 volume type per source");
        continue;
      }
      const std::string_view k = kind;
      if (k == "downwardAPI") {
        check_downward(c, here.child("items"), s["items"]);
      } else if (k == "serviceAccountToken") {
        const json::Ref expiry = s["expirationSeconds"];
        if (expiry && expiry.integer() < 600) {
          c.invalid(here.child("expirationSeconds"), expiry.integer(),
                    "may not specify a duration less than 10 minutes");
        }
        if (expiry && expiry.integer() > (int64_t{1} << 32)) {
          c.invalid(here.child("expirationSeconds"), expiry.integer(),
                    "may not specify a duration larger than 2^32 seconds");
        }
        if (s["path"].str().empty()) {
          c.required(here.child("path"));
        } else {
          check_local_path(c, here.child("path"), s["path"].str());
        }
      } else if (k == "secret" || k == "configMap") {
        if (s["name"].str().empty()) c.required(here.child("name"));
        check_items(c, here.child("items"), s["items"]);
      }
    }
    if (kinds == 0) c.required(at, "must specify a volume type");
  }
}

void check_source(Checker& c, const Path& p, std::string_view kind, json::Ref s) {
  if (kind == "emptyDir") {
    const json::Ref limit = s["sizeLimit"];
    if (limit && Quantity::parse_or_zero(limit.is_string() ? limit.str() : "0").sign() < 0) {
      c.forbidden(p.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
  } else if (kind == "hostPath") {
    if (s["path"].str().empty()) {
      c.required(p.child("path"));
    } else {
      no_backsteps(c, p.child("path"), s["path"].str());
    }
    if (!s["type"].str().empty()) {
      c.one_of(
          p.child("type"), s["type"],
          {"BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"});
    }
  } else if (kind == "secret" || kind == "configMap") {
    const char* name = kind == "secret" ? "secretName" : "name";
    if (s[name].str().empty()) c.required(p.child(name));
    check_mode(c, p.child("defaultMode"), s["defaultMode"]);
    check_items(c, p.child("items"), s["items"]);
  } else if (kind == "downwardAPI") {
    check_mode(c, p.child("defaultMode"), s["defaultMode"]);
    check_downward(c, p.child("items"), s["items"]);
  } else if (kind == "projected") {
    check_projected(c, p, s);
  } else if (kind == "persistentVolumeClaim") {
    if (s["claimName"].str().empty()) c.required(p.child("claimName"));
  } else if (kind == "nfs") {
    if (s["server"].str().empty()) c.required(p.child("server"));
    if (s["path"].str().empty()) c.required(p.child("path"));
    if (!s["path"].str().starts_with('/'))
      c.invalid(p.child("path"), s["path"].str(), "must be an absolute path");
  } else if (kind == "csi") {
    if (s["driver"].str().empty()) c.required(p.child("driver"));
  } else if (kind == "image") {
    if (s["reference"].str().empty()) c.required(p.child("reference"));
  }
}

}  // namespace

void check_volumes(Checker& c, const Path& p, json::Ref volumes) {
  std::set<std::string> names;
  size_t i = 0;
  for (json::Ref volume : volumes) {
    const Path at = p.index(i++);
    int sources = 0;
    for (json::Ref source : volume) {
      if (!source.is_object()) continue;  // the name
      if (++sources > 1) {
        c.forbidden(at.child(source.key()), "may not specify more than 1 volume type");
      } else {
        check_source(c, at.child(source.key()), source.key(), source);
      }
    }
    if (sources == 0) c.required(at, "must specify a volume type");
    const std::string_view name = volume["name"].str();
    if (name.empty()) {
      c.required(at.child("name"));
    } else {
      c.by(at.child("name"), name, check_dns1123_label(name));
      if (!names.emplace(name).second) c.duplicate(at.child("name"), name);
    }
  }
}

}  // namespace limpet::schema
