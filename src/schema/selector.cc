#include "schema/selector.h"

#include <algorithm>
#include <charconv>

#include "schema/names.h"
#include "schema/types.h"

namespace limpet::schema {

namespace {

using Op = LabelSelector::Op;
using Requirement = LabelSelector::Requirement;

constexpr size_t kMaxText = 64 * 1024;

enum class Token : uint8_t {
  end,
  close,
  comma,
  bang,
  word,
  in,
  notin,
  open,
  equals,
  double_equals,
  not_equals,
  greater,
  less,
  bad
};

struct Item {
  Token token = Token::end;
  std::string_view text;
  size_t at = 0;
};

bool space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool symbol(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) { advance(); }
  Result<std::vector<Requirement>> run();

 private:
  void advance();
  bool at_word() const {  // `in` and `notin` are words where a key or value stands
    return now_.token == Token::word || now_.token == Token::in || now_.token == Token::notin;
  }
  std::unexpected<Error> unexpected_token(const char* expected) const {
    return fail(Errc::invalid_argument, "found '" + std::string(now_.text) + "', expected: " + expected +
                                            " (at byte " + std::to_string(now_.at) + ")");
  }
  Result<Requirement> requirement();
  Result<Op> binary_operator();
  Result<std::vector<std::string>> value_set();

  std::string_view text_;
  size_t next_ = 0;
  Item now_;
};

void Parser::advance() {
  while (next_ < text_.size() && space(text_[next_])) next_++;
  const size_t start = next_;
  if (start == text_.size()) {
    now_ = {Token::end, {}, start};
    return;
  }
  auto is = [&](std::string_view s) { return text_.substr(start).starts_with(s); };
  Token token = Token::word;
  size_t length = 1;
  switch (text_[start]) {
    case '(':
      token = Token::open;
      break;
    case ')':
      token = Token::close;
      break;
    case ',':
      token = Token::comma;
      break;
    case '>':
      token = Token::greater;
      break;
    case '<':
      token = Token::less;
      break;
    case '!':
      token = is("!=") ? Token::not_equals : Token::bang;
      length = is("!=") ? 2 : 1;
      break;
    case '=':
      token = is("==") ? Token::double_equals : Token::equals;
      length = is("==") ? 2 : 1;
      break;
    default: {
      size_t end = start;
      while (end < text_.size() && text_[end] != 0 && !symbol(text_[end]) && !space(text_[end])) end++;
      length = std::max<size_t>(end - start, 1);
      if (text_[start] == 0) token = Token::bad;
    }
  }
  now_ = {token, text_.substr(start, length), start};
  if (token == Token::word && now_.text == "in") now_.token = Token::in;
  if (token == Token::word && now_.text == "notin") now_.token = Token::notin;
  next_ = start + length;
}

std::string join(const Messages& messages) {
  std::string out;
  for (const std::string& m : messages) {
    if (!out.empty()) out += "; ";
    out += m;
  }
  return out;
}

Result<> check_key(std::string_view where, std::string_view key) {
  const Messages wrong = check_qualified_name(key);
  if (wrong.empty()) return {};
  return fail(Errc::invalid_argument,
              std::string(where) + ": Invalid value: " + json::quoted(key) + ": " + join(wrong));
}

Result<int64_t> to_integer(std::string_view s) {
  int64_t n = 0;
  if (s.starts_with('+')) s.remove_prefix(1);
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (error != std::errc() || end != s.data() + s.size())
    return fail(Errc::invalid_argument, "not an integer");
  return n;
}

// The rules on keys, operators and values that both the text and the object form obey.
Result<> check_requirement(Requirement& r) {
  CHECK_OK(check_key("key", r.key));
  auto values_error = [&](const char* detail) {
    std::string list;
    for (const std::string& v : r.values) list += (list.empty() ? "" : ",") + json::quoted(v);
    return fail(Errc::invalid_argument, "values: Invalid value: [" + list + "]: " + detail);
  };
  switch (r.op) {
    case Op::in:
    case Op::not_in:
      if (r.values.empty()) return values_error("for 'in', 'notin' operators, values set can't be empty");
      break;
    case Op::equals:
    case Op::double_equals:
    case Op::not_equals:
      if (r.values.size() != 1) return values_error("exact-match compatibility requires one single value");
      break;
    case Op::exists:
    case Op::not_exists:
      if (!r.values.empty()) return values_error("values set must be empty for exists and does not exist");
      break;
    case Op::greater:
    case Op::less:
      if (r.values.size() != 1)
        return values_error("for 'Gt', 'Lt' operators, exactly one value is required");
      if (!to_integer(r.values[0])) {
        return fail(Errc::invalid_argument, "values[0]: Invalid value: " + json::quoted(r.values[0]) +
                                                ": for 'Gt', 'Lt' operators, the value must be an integer");
      }
      break;
  }
  for (size_t i = 0; i < r.values.size(); i++) {
    const Messages wrong = check_label_value(r.values[i]);
    if (!wrong.empty()) {
      return fail(Errc::invalid_argument, "values[" + std::to_string(i) + "][" + r.key +
                                              "]: Invalid value: " + json::quoted(r.values[i]) + ": " +
                                              join(wrong));
    }
  }
  std::sort(r.values.begin(), r.values.end());
  r.values.erase(std::unique(r.values.begin(), r.values.end()), r.values.end());
  return {};
}

Result<Op> Parser::binary_operator() {
  Op op;
  switch (now_.token) {
    case Token::in:
      op = Op::in;
      break;
    case Token::notin:
      op = Op::not_in;
      break;
    case Token::equals:
      op = Op::equals;
      break;
    case Token::double_equals:
      op = Op::double_equals;
      break;
    case Token::not_equals:
      op = Op::not_equals;
      break;
    case Token::greater:
      op = Op::greater;
      break;
    case Token::less:
      op = Op::less;
      break;
    default:
      return unexpected_token("in, notin, =, ==, !=, gt, lt");
  }
  advance();
  return op;
}

// "(a, b,,)": an empty place between commas is the empty value.
Result<std::vector<std::string>> Parser::value_set() {
  std::vector<std::string> values;
  if (now_.token != Token::open) return unexpected_token("'('");
  advance();
  for (;;) {
    if (at_word()) {
      values.emplace_back(now_.text);
      advance();
    } else if (now_.token == Token::comma || now_.token == Token::close) {
      values.emplace_back();
    } else {
      return unexpected_token("',', ')' or identifier");
    }
    if (now_.token == Token::close) break;
    if (now_.token != Token::comma) return unexpected_token("',' or ')'");
    advance();
  }
  advance();
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

Result<Requirement> Parser::requirement() {
  Requirement r{{}, Op::exists, {}};
  const bool negated = now_.token == Token::bang;
  if (negated) {
    r.op = Op::not_exists;
    advance();
  }
  if (!at_word()) return unexpected_token("identifier");
  r.key = now_.text;
  CHECK_OK(check_key("<nil>", r.key));
  advance();
  if (now_.token != Token::end && now_.token != Token::comma) {
    if (negated) return unexpected_token("',' or 'end of string'");
    TRY(r.op, binary_operator());
    if (r.op == Op::in || r.op == Op::not_in) {
      TRY(r.values, value_set());
    } else if (now_.token == Token::end || now_.token == Token::comma) {
      r.values.emplace_back();
    } else if (at_word()) {
      r.values.emplace_back(now_.text);
      advance();
    } else {
      return unexpected_token("identifier");
    }
  }
  CHECK_OK(check_requirement(r));
  return r;
}

Result<std::vector<Requirement>> Parser::run() {
  std::vector<Requirement> out;
  if (now_.token == Token::end) return out;
  for (;;) {
    if (!at_word() && now_.token != Token::bang) {
      return unexpected_token(out.empty() ? "!, identifier, or 'end of string'" : "identifier after ','");
    }
    auto r = requirement();
    if (!r) return std::unexpected(std::move(r).error().with("unable to parse requirement"));
    out.push_back(std::move(*r));
    if (now_.token == Token::end) return out;
    if (now_.token != Token::comma) return unexpected_token("',' or 'end of string'");
    advance();
  }
}

const char* op_text(Op op) {
  switch (op) {
    case Op::in:
      return " in ";
    case Op::not_in:
      return " notin ";
    case Op::equals:
      return "=";
    case Op::double_equals:
      return "==";
    case Op::not_equals:
      return "!=";
    case Op::greater:
      return ">";
    case Op::less:
      return "<";
    case Op::exists:
    case Op::not_exists:
      break;
  }
  return "";
}

}  // namespace

bool LabelSelector::Requirement::matches(bool present, std::string_view value) const {
  auto has = [&] { return std::find(values.begin(), values.end(), value) != values.end(); };
  switch (op) {
    case Op::in:
    case Op::equals:
    case Op::double_equals:
      return present && has();
    case Op::not_in:
    case Op::not_equals:
      return !present || !has();
    case Op::exists:
      return present;
    case Op::not_exists:
      return !present;
    case Op::greater:
    case Op::less: {
      const auto mine = to_integer(values[0]), theirs = to_integer(value);
      if (!present || !mine || !theirs) return false;
      return op == Op::greater ? *theirs > *mine : *theirs < *mine;
    }
  }
  return false;
}

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  if (text.size() > kMaxText) return fail(Errc::too_large, "label selector is longer than 64 KiB");
  LabelSelector s;
  TRY(s.requirements_, Parser(text).run());
  s.sort();
  return s;
}

void LabelSelector::sort() {
  std::stable_sort(requirements_.begin(), requirements_.end(),
                   [](const Requirement& a, const Requirement& b) { return a.key < b.key; });
}

Result<LabelSelector> LabelSelector::from_object(json::Ref selector) {
  LabelSelector s;
  if (!selector || selector.is_null()) {
    s.nothing_ = true;
    return s;
  }
  for (json::Ref label : selector["matchLabels"]) {
    Requirement r{std::string(label.key()), Op::equals, {std::string(label.str())}};
    CHECK_OK(check_requirement(r));
    s.requirements_.push_back(std::move(r));
  }
  for (json::Ref e : selector["matchExpressions"]) {
    Requirement r{std::string(e["key"].str()), Op::in, {}};
    const std::string_view op = e["operator"].str();
    if (op == "In") {
      r.op = Op::in;
    } else if (op == "NotIn") {
      r.op = Op::not_in;
    } else if (op == "Exists") {
      r.op = Op::exists;
    } else if (op == "DoesNotExist") {
      r.op = Op::not_exists;
    } else {
      return fail(Errc::invalid_argument, json::quoted(op) + " is not a valid label selector operator");
    }
    for (json::Ref v : e["values"]) r.values.emplace_back(v.str());
    CHECK_OK(check_requirement(r));
    s.requirements_.push_back(std::move(r));
  }
  s.sort();
  return s;
}

Result<LabelSelector> LabelSelector::from_object(json::Cursor selector) {
  if (!selector) return from_object(json::Ref());
  TRY(json::Value tree, json::parse(selector.raw()));
  return from_object(tree.ref());
}

LabelSelector LabelSelector::from_map(json::Cursor map) {
  LabelSelector s;
  map.each([&](std::string_view key, json::Cursor value) {
    s.requirements_.push_back({std::string(key), Op::equals, {value.str()}});
    return true;
  });
  s.nothing_ = s.requirements_.empty();
  s.sort();
  return s;
}

bool LabelSelector::matches_labels(json::Cursor labels) const {
  if (nothing_) return false;
  for (const Requirement& r : requirements_) {
    const json::Cursor value = labels[r.key];
    if (!r.matches(static_cast<bool>(value), value.str())) return false;
  }
  return true;
}

bool LabelSelector::matches_labels(json::Ref labels) const {
  if (nothing_) return false;
  for (const Requirement& r : requirements_) {
    const json::Ref value = labels[r.key];
    if (!r.matches(static_cast<bool>(value), value.str())) return false;
  }
  return true;
}

std::string LabelSelector::str() const {
  std::string out;
  for (const Requirement& r : requirements_) {
    if (!out.empty()) out += ',';
    if (r.op == Op::not_exists) out += '!';
    out.append(r.key).append(op_text(r.op));
    const bool set = r.op == Op::in || r.op == Op::not_in;
    if (set) out += '(';
    for (size_t i = 0; i < r.values.size(); i++) out.append(i > 0 ? "," : "").append(r.values[i]);
    if (set) out += ')';
  }
  return out;
}

}  // namespace limpet::schema
