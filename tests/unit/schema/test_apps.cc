// Deployments and replica sets: defaults, validation, columns.
#include "schema/codec.h"
#include "schema/columns.h"
#include "schema/patch_merge.h"
#include "schema/validate.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

json::Value tree(const std::string& text) {
  auto v = json::parse(text);
  REQUIRE_MESSAGE(v, text);
  return std::move(*v);
}

const Resource& resource(const char* plural) {
  const Resource* r = find_resource("apps", "v1", plural);
  REQUIRE((r != nullptr));
  return *r;
}

const char* kBase = R"({"metadata":{"name":"web","namespace":"d","uid":"u","resourceVersion":"1"},
  "spec":{"selector":{"matchLabels":{"app":"web"}},
  "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"a","image":"i"}]}}}})";

json::Value made(const char* plural, const char* patch) {
  json::Value object = apply_merge_patch(tree(kBase), tree(patch));
  apply_defaults(object, *resource(plural).type());
  return object;
}

struct Case {
  const char *patch, *errors;
};

void check(const char* plural, std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    CAPTURE(c.patch);
    const json::Value object = made(plural, c.patch);
    const FieldErrors errors = validate_create(resource(plural), object);
    CHECK((errors.empty() ? "" : joined(errors)) == c.errors);
  }
}

std::string cells(const char* plural, const std::string& object) {
  json::Writer w;
  write_cells(resource(plural), json::Cursor(object), {1767225600, 0}, w);
  return w.take();
}

}  // namespace

TEST_CASE("deployments: defaults") {
  const json::Value d = made("deployments", "{}");
  const json::Ref spec = d.ref()["spec"];
  CHECK(spec["replicas"].integer() == 1);
  CHECK(spec["revisionHistoryLimit"].integer() == 10);
  CHECK(spec["progressDeadlineSeconds"].integer() == 600);
  CHECK(spec["strategy"].dump() ==
        R"({"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}})");
  const json::Ref pod = spec["template"]["spec"];
  CHECK(pod["restartPolicy"].str() == "Always");
  CHECK(pod["containers"].at(0)["imagePullPolicy"].str() == "Always");
  CHECK(pod["terminationGracePeriodSeconds"].integer() == 30);
  const json::Value r = made("deployments", R"({"spec":{"strategy":{"type":"Recreate"}}})");
  CHECK(!r.ref()["spec"]["strategy"]["rollingUpdate"]);
  CHECK(made("replicasets", "{}").ref()["spec"]["replicas"].integer() == 1);
}

TEST_CASE("deployments: validation") {
  check("deployments",
        {{"{}", ""},
         {R"({"spec":{"replicas":-1}})",
          "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
         {R"({"spec":{"selector":null}})", "spec.selector: Required value"},
         {R"({"spec":{"selector":{"matchLabels":null}}})",
          "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
         {R"({"spec":{"selector":{"matchLabels":{"app":"other"}}}})",
          "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match "
          "template `labels`"},
         {R"({"spec":{"template":{"spec":{"restartPolicy":"Never"}}}})",
          "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""},
         {R"({"spec":{"template":{"spec":{"containers":null}}}})",
          "spec.template.spec.containers: Required value"},
         {R"({"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":0}}}})",
          "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"},
         {R"({"spec":{"strategy":{"rollingUpdate":{"maxUnavailable":"150%"}}}})",
          "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"150%\": must not be greater than "
          "100%"},
         {R"({"spec":{"strategy":{"rollingUpdate":{"maxSurge":"x"}}}})",
          "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a "
          "numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is "
          "'[0-9]+%')"},
         {R"({"spec":{"strategy":{"type":"Recreate","rollingUpdate":{"maxSurge":1}}}})",
          "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"},
         {R"({"spec":{"minReadySeconds":600}})",
          "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"}});
  check("replicasets",
        {{"{}", ""},
         {R"({"spec":{"template":{"spec":{"activeDeadlineSeconds":5}}}})",
          "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not "
          "Supported"}});
}

TEST_CASE("deployments: what an update may not do") {
  const json::Value old = made("deployments", "{}");
  const json::Value now =
      made("deployments",
           R"({"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}}}}})");
  CHECK(joined(validate_update(resource("deployments"), now, old)) ==
        "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"a\":\"b\"}}: field is immutable");
  const json::Value status = made("deployments", R"({"status":{"replicas":1,"readyReplicas":2}})");
  CHECK(joined(validate_status_update(resource("deployments"), status, old)) ==
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas");
}

TEST_CASE("deployments: columns") {
  const std::string spec =
      R"("spec":{"replicas":3,"selector":{"matchLabels":{"b":"2","a":"1"}},"template":{"spec":{"containers":[{"name":"x","image":"i:1"},{"name":"y","image":"j"}]}}})";
  const std::string meta = R"("metadata":{"name":"web","creationTimestamp":"2025-12-31T23:59:00Z"},)";
  CHECK(cells("deployments",
              "{" + meta + spec +
                  R"(,"status":{"readyReplicas":2,"updatedReplicas":3,"availableReplicas":1}})") ==
        R"(["web","2/3",3,1,"60s","x,y","i:1,j","a=1,b=2"])");
  CHECK(cells("replicasets", "{" + meta + spec + R"(,"status":{"replicas":3,"readyReplicas":2}})") ==
        R"(["web",3,3,2,"60s","x,y","i:1,j","a=1,b=2"])");
}
