#include "schema/selector.h"
#include "schema/types.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

TEST_CASE("field selector") {
  const std::string_view fields[] = {"spec.nodeName", "status.phase", "spec.hostNetwork"};
  const Type* pod = find_type("io.k8s.api.core.v1.Pod");
  const json::Cursor object(R"({"metadata":{"name":"p","namespace":"d"},"spec":{"nodeName":"n,1"}})");
  struct Case {
    const char* text;
    bool match;
  };
  for (const Case& c : std::initializer_list<Case>{{"", true},
                                                   {"metadata.name=p", true},
                                                   {"metadata.name==p,metadata.namespace!=e", true},
                                                   {"metadata.name!=p", false},
                                                   {"spec.nodeName=n\\,1", true},
                                                   {"status.phase=", true},
                                                   {"status.phase!=Running", true},
                                                   {"spec.hostNetwork=false", true},
                                                   {"spec.hostNetwork=true", false}}) {
    CAPTURE(c.text);
    const auto s = FieldSelector::parse(c.text, fields, pod);
    REQUIRE_MESSAGE(s, s.error().message);
    CHECK(s->matches(object) == c.match);
  }
  CHECK(FieldSelector::parse("x=1", {}, nullptr).error().message ==
        "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
  CHECK(FieldSelector::parse("x=1", fields, pod).error().message == "field label not supported: x");
  CHECK(!FieldSelector::parse("metadata.name", fields, pod));
  CHECK(!FieldSelector::parse("metadata.name=a=b", fields, pod));
  CHECK(!FieldSelector::parse("metadata.name=a\\x", fields, pod));
  CHECK(FieldSelector::parse("metadata.name=p", fields, pod).value().exact("metadata.name") == "p");
  CHECK(!FieldSelector::parse("metadata.name!=p", fields, pod).value().exact("metadata.name"));
}
