#include <doctest/doctest.h>

#include <string>

#include "schema/types.h"

using namespace limpet::schema;

namespace {

const Type* core(std::string_view name) { return find_type("io.k8s.api.core.v1." + std::string(name)); }

}  // namespace

TEST_CASE("types are found by name, and only by their own") {
  REQUIRE(core("Pod"));
  CHECK(core("Pod")->name() == "io.k8s.api.core.v1.Pod");
  CHECK(core("Pod")->is_kind());
  CHECK_FALSE(core("PodSpec")->is_kind());
  CHECK_FALSE(core("Po"));
  CHECK_FALSE(core("Podd"));
  CHECK_FALSE(find_type(""));
}

TEST_CASE("every type is well formed") {
  std::string_view last;
  for (const Type& type : types()) {
    CAPTURE(type.name());
    CHECK(last < type.name());
    last = type.name();
    CHECK_FALSE(type.doc().empty());
    CHECK(find_type(type.name()) == &type);
    for (const Field& field : type.fields()) {
      CAPTURE(field.name());
      CHECK(type.find(field.name()) == &field);
      CHECK_FALSE(field.doc().empty());
      CHECK((field.scalar() == Scalar::object) == (field.type() != nullptr));
      if (field.number() != 0) CHECK(type.find(field.number(), field.outer()) == &field);
      CHECK((field.list_type() == ListType::map) == !field.list_map_keys().empty());
    }
    if (type.is_kind()) {
      REQUIRE(type.fields().size() >= 2);
      CHECK(type.fields()[0].name() == "apiVersion");
      CHECK(type.fields()[1].name() == "kind");
    }
  }
}

TEST_CASE("a field says what the schema file says") {
  const Field* containers = core("PodSpec")->find("containers");
  REQUIRE(containers);
  CHECK(containers->number() == 2);
  CHECK(containers->shape() == Shape::list);
  CHECK(containers->type() == core("Container"));
  CHECK(containers->required());
  CHECK(containers->patch_strategy() == PatchStrategy::merge);
  CHECK(containers->patch_merge_key() == "name");
  CHECK(containers->list_type() == ListType::map);
  CHECK(containers->list_map_keys() == "name");

  const Field* grace = core("PodSpec")->find("terminationGracePeriodSeconds");
  REQUIRE(grace);
  CHECK(grace->pointer());
  CHECK(grace->scalar() == Scalar::int64);
  CHECK(grace->default_json() == "30");
  CHECK(core("PodSpec")->find("restartPolicy")->enum_values() == "Always,OnFailure,Never");
  CHECK(core("ContainerPort")->find("protocol")->default_json() == "\"TCP\"");
  CHECK(core("Secret")->find("data")->shape() == Shape::map);
  CHECK(core("Secret")->find("data")->scalar() == Scalar::bytes);
}

TEST_CASE("inlined types are flat in JSON and nested in protobuf") {
  const Type* volume = core("Volume");
  const Field* empty_dir = volume->find("emptyDir");
  REQUIRE(empty_dir);
  CHECK(empty_dir->number() == 2);
  CHECK(empty_dir->outer() == 2);
  CHECK(volume->find(uint16_t{1})->name() == "name");
  CHECK_FALSE(volume->find(uint16_t{2}));
  CHECK(volume->find(2, 2) == empty_dir);
  CHECK(core("EphemeralContainer")->find("image")->outer() == 1);
}

TEST_CASE("resources are found by address and by kind") {
  const Resource* pods = find_resource("", "v1", "pods");
  REQUIRE(pods);
  CHECK(pods == find_kind("", "v1", "Pod"));
  CHECK(pods->singular() == "pod");
  CHECK(pods->short_names().contains("po"));
  CHECK(pods->categories().contains("all"));
  CHECK(pods->verbs().size() == 8);
  CHECK(pods->verbs().contains("deletecollection"));
  CHECK(pods->subresources().contains("status=Pod:get,patch,update"));
  CHECK(pods->selectable_fields().contains("spec.nodeName"));
  CHECK(pods->namespaced());
  CHECK(pods->storage() == Storage::durable);
  CHECK(pods->type() == core("Pod"));
  CHECK(pods->list_type() == core("PodList"));
  REQUIRE(pods->columns().size() == 9);
  CHECK(pods->columns()[0].name() == "Name");
  CHECK(pods->columns()[0].format() == "name");
  CHECK(pods->columns()[5].name() == "IP");
  CHECK(pods->columns()[5].priority() == 1);

  CHECK(find_resource("", "v1", "nodes")->short_names().contains("no"));
  CHECK(find_resource("", "v1", "events")->storage() == Storage::transient);
  CHECK_FALSE(find_resource("", "v1", "bindings")->list_type());
  CHECK_FALSE(find_resource("", "v1", "pod"));
  CHECK_FALSE(find_resource("apps", "v1", "pods"));
  CHECK_FALSE(find_kind("", "v2", "Pod"));
}
