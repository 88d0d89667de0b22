#include "schema/selector.h"
#include "table.h"

using namespace limpet;
using namespace limpet::schema;

namespace {

std::string unquoted(const std::string& json) { return std::string(json::parse(json).value().ref().str()); }

// Upstream's wording, less the position that limpet adds.
std::string without_position(std::string message) {
  const size_t at = message.find(" (at byte ");
  if (at != std::string::npos) message.resize(at);
  return message;
}

}  // namespace

TEST_CASE("label selector: the text form as upstream") {
  const char* sets[] = {"{}",
                        R"({"x":"a"})",
                        R"({"x":"b","y":"a"})",
                        R"({"app":"web","x":""})",
                        R"({"n":"5","x":"c"})",
                        R"({"a.b/c":"d"})"};
  for (const auto& row : read_table("selector.tsv")) {
    CAPTURE(row[0]);
    const auto s = LabelSelector::parse(unquoted(row[0]));
    if (row[1] == "!") {
      CHECK(!s);
      continue;
    }
    REQUIRE_MESSAGE(s, s.error().message);
    std::string matched;
    for (const char* set : sets) {
      const bool match = s->matches_labels(json::Cursor(set));
      matched += match ? '1' : '0';
      CHECK(s->matches_labels(json::parse(set).value().ref()) == match);
      CHECK(s->matches(json::Cursor(R"({"metadata":{"labels":)" + std::string(set) + "}}")) == match);
    }
    CHECK(matched == row[1]);
    CHECK(s->str() == unquoted(row[2]));
  }
}

TEST_CASE("label selector: errors") {
  struct Case {
    const char *text, *error;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"x in a", "unable to parse requirement: found 'a', expected: '('"},
           {"x a", "unable to parse requirement: found 'a', expected: in, notin, =, ==, !=, gt, lt"},
           {"x=a,", "found '', expected: identifier after ','"},
           {"=a", "found '=', expected: !, identifier, or 'end of string'"},
           {"x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"},
           {"x>a",
            "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the "
            "value must be "
            "an integer"}}) {
    CAPTURE(c.text);
    const auto s = LabelSelector::parse(c.text);
    REQUIRE(!s);
    CHECK(without_position(s.error().message) == c.error);
  }
  CHECK(LabelSelector::parse("x in a").error().message.ends_with("(at byte 5)"));
  CHECK(LabelSelector::parse("x=-a").error().message.starts_with(
      "unable to parse requirement: values[0][x]: Invalid value: \"-a\": a valid label must be an empty "
      "string"));
  CHECK(!LabelSelector::parse(std::string(70000, 'a')));
  CHECK(!LabelSelector::parse(std::string_view("x=a\0b", 5)));
}

TEST_CASE("label selector: the object form") {
  auto of = [](const char* text) { return LabelSelector::from_object(json::Cursor(text)); };
  CHECK(of("{}").value().empty());
  CHECK(!LabelSelector::from_object(json::Cursor()).value().matches_labels(json::Cursor("{}")));
  CHECK(of(R"({"matchLabels":{"b":"2","a":"1"}})").value().str() == "a=1,b=2");
  CHECK(
      of(R"({"matchExpressions":[{"key":"a","operator":"In","values":["y","x"]},{"key":"b","operator":"DoesNotExist"}]})")
          .value()
          .str() == "a in (x,y),!b");
  CHECK(of(R"({"matchExpressions":[{"key":"a","operator":"Like"}]})").error().message ==
        "\"Like\" is not a valid label selector operator");
  CHECK(of(R"({"matchExpressions":[{"key":"a","operator":"In"}]})").error().message ==
        "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
  CHECK(!LabelSelector::from_map(json::Cursor("{}")).matches_labels(json::Cursor("{}")));
  CHECK(LabelSelector::from_map(json::Cursor(R"({"a":"1"})"))
            .matches_labels(json::Cursor(R"({"a":"1","b":"2"})")));
}
