#include "base/yaml.h"

#include <yaml.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <unordered_set>

#include "base/json_scan.h"

namespace limpet::yaml {

namespace {

using Event = std::unique_ptr<yaml_event_t, void (*)(yaml_event_t*)>;

std::unexpected<Error> bad(const yaml_mark_t& m, const std::string& what) {
  return fail(Errc::invalid_argument,
              strf("line %zu, column %zu: %s", m.line + 1, m.column + 1, what.c_str()));
}

// Integers in base 8 and 16: 0644 (as YAML 1.1 and every manifest with a defaultMode has it), 0o644, 0x1f.
bool based_integer(std::string_view s, uint64_t* out) {
  int base = 8;
  if (s.size() < 2 || s[0] != '0') return false;
  if (s[1] == 'x' || s[1] == 'o') {
    base = s[1] == 'x' ? 16 : 8;
    s.remove_prefix(1);
  }
  s.remove_prefix(1);
  const auto r = std::from_chars(s.data(), s.data() + s.size(), *out, base);
  return r.ec == std::errc() && r.ptr == s.data() + s.size() && *out <= INT64_MAX;
}

// The JSON form of a plain scalar that is a number, empty when it is none. YAML also allows a plus sign and a
// fraction without digits on one side.
std::string number_text(std::string_view s) {
  uint64_t based = 0;
  if (based_integer(s, &based)) return std::to_string(based);
  std::string text(s.starts_with('+') ? s.substr(1) : s);
  const size_t dot = text.find('.');
  const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  if (dot != std::string::npos) {
    const bool before = dot > 0 && digit(dot - 1), after = digit(dot + 1);
    if (!after && before) text.insert(dot + 1, "0");
    if (!before && after) text.insert(dot, "0");
  }
  size_t pos = 0;
  return json::scan::number(text, &pos) && pos == text.size() ? text : "";
}

// The core schema's plain scalars, as YAML 1.2 and Kubernetes' reader have them.
Node::Kind plain_kind(std::string_view s) {
  if (s.empty() || s == "~" || s == "null" || s == "Null" || s == "NULL") return Node::Kind::null;
  if (s == "true" || s == "True" || s == "TRUE" || s == "false" || s == "False" || s == "FALSE") {
    return Node::Kind::boolean;
  }
  return number_text(s).empty() ? Node::Kind::string : Node::Kind::number;
}

class Reader {
 public:
  Reader(std::string_view text, const Options& options) : text_(text), options_(options) {
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
  }
  ~Reader() { yaml_parser_delete(&parser_); }
  Reader(const Reader&) = delete;

  Result<std::vector<Node>> documents() {
    std::vector<Node> out;
    for (;;) {
      yaml_event_t e;
      CHECK_OK(next(&e));
      const Event owner(&e, yaml_event_delete);
      if (e.type == YAML_STREAM_END_EVENT) return out;
      if (e.type != YAML_DOCUMENT_START_EVENT) continue;
      if (out.size() >= options_.max_documents) {
        return bad(e.start_mark, strf("more than %zu document%s", options_.max_documents,
                                      options_.max_documents == 1 ? "" : "s"));
      }
      TRY(Node root, node_after(0));
      out.push_back(std::move(root));
    }
  }

 private:
  Result<> next(yaml_event_t* e) {
    if (yaml_parser_parse(&parser_, e)) return {};
    const yaml_mark_t m = parser_.problem_mark;
    std::string what = parser_.problem ? parser_.problem : "cannot be read";
    if (parser_.error == YAML_READER_ERROR) {
      return bad(mark_of(parser_.problem_offset), what);
    }
    if (parser_.context) what += std::string(" (") + parser_.context + ")";
    return bad(m, what);
  }

  // libyaml's reader knows only the byte at which a character is bad.
  yaml_mark_t mark_of(size_t offset) const {
    yaml_mark_t mark{};
    for (char c : text_.substr(0, offset)) {
      mark.line += c == '\n';
      mark.column = c == '\n' ? 0 : mark.column + 1;
    }
    return mark;
  }

  Result<Node> node_after(int depth) {
    yaml_event_t e;
    CHECK_OK(next(&e));
    const Event owner(&e, yaml_event_delete);
    return node(e, depth);
  }

  Result<Node> node(const yaml_event_t& e, int depth) {
    if (++values_ > options_.max_values) {
      auto error = bad(e.start_mark, strf("more than %zu values", options_.max_values));
      error.error().code = Errc::too_large;
      return error;
    }
    Node n;
    n.line = static_cast<int>(e.start_mark.line) + 1;
    n.column = static_cast<int>(e.start_mark.column) + 1;
    switch (e.type) {
      case YAML_ALIAS_EVENT:
        return bad(e.start_mark, "aliases are not allowed");
      case YAML_SCALAR_EVENT:
        return scalar(e, std::move(n));
      case YAML_SEQUENCE_START_EVENT:
      case YAML_MAPPING_START_EVENT:
        break;
      default:
        return bad(e.start_mark, "a value is missing");
    }
    const bool sequence = e.type == YAML_SEQUENCE_START_EVENT;
    const yaml_char_t* anchor = sequence ? e.data.sequence_start.anchor : e.data.mapping_start.anchor;
    const yaml_char_t* tag = sequence ? e.data.sequence_start.tag : e.data.mapping_start.tag;
    if (anchor) return bad(e.start_mark, "anchors are not allowed");
    if (tag) return bad(e.start_mark, "tags are not allowed here");
    if (depth >= options_.max_depth)
      return bad(e.start_mark, strf("nesting deeper than %d", options_.max_depth));
    n.kind = sequence ? Node::Kind::sequence : Node::Kind::mapping;
    if (sequence) {
      CHECK_OK(items(&n, depth));
    } else {
      CHECK_OK(members(&n, depth));
    }
    return n;
  }

  Result<Node> scalar(const yaml_event_t& e, Node n) {
    const auto& s = e.data.scalar;
    if (s.anchor) return bad(e.start_mark, "anchors are not allowed");
    n.scalar.assign(reinterpret_cast<const char*>(s.value), s.length);
    if (memchr(n.scalar.data(), 0, n.scalar.size())) return bad(e.start_mark, "NUL character in a string");
    n.kind = s.style == YAML_PLAIN_SCALAR_STYLE ? plain_kind(n.scalar) : Node::Kind::string;
    if (!s.tag) return n;
    const auto* tag = reinterpret_cast<const char*>(s.tag);
    if (strcmp(tag, "tag:yaml.org,2002:str") == 0 || strcmp(tag, "!") == 0) {
      n.kind = Node::Kind::string;
      return n;
    }
    return bad(e.start_mark, strf("tag %.64s is not allowed", tag));
  }

  Result<> items(Node* n, int depth) {
    for (;;) {
      yaml_event_t e;
      CHECK_OK(next(&e));
      const Event owner(&e, yaml_event_delete);
      if (e.type == YAML_SEQUENCE_END_EVENT) return {};
      TRY(Node item, node(e, depth + 1));
      n->items.push_back(std::move(item));
    }
  }

  Result<> members(Node* n, int depth) {
    std::unordered_set<std::string> keys;
    for (;;) {
      yaml_event_t e;
      CHECK_OK(next(&e));
      const Event owner(&e, yaml_event_delete);
      if (e.type == YAML_MAPPING_END_EVENT) return {};
      if (e.type != YAML_SCALAR_EVENT && e.type != YAML_ALIAS_EVENT) {
        return bad(e.start_mark, "a key must be a plain word");
      }
      TRY(Node key, node(e, depth + 1));
      if (key.scalar == "<<" && e.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        return bad(e.start_mark, "merge keys are not allowed");
      }
      if (!keys.insert(key.scalar).second) {
        return bad(e.start_mark, strf("key %s stands twice", json::quoted(key.scalar).c_str()));
      }
      TRY(Node value, node_after(depth + 1));
      n->members.emplace_back(std::move(key), std::move(value));
    }
  }

  std::string_view text_;
  yaml_parser_t parser_;
  size_t values_ = 0;
  const Options& options_;
};

json::Value number_value(const std::string& text) {
  auto parsed = json::parse(number_text(text));
  return parsed ? std::move(*parsed) : json::Value::string(text);
}

// Whether a plain scalar would be read back as the same string by readers of YAML 1.1 and 1.2.
bool plain_safe(std::string_view s) {
  if (plain_kind(s) != Node::Kind::string) return false;
  static constexpr std::string_view kWords[] = {"y",  "Y",  "yes", "Yes", "YES", "n",   "N",   "no", "No",
                                                "NO", "on", "On",  "ON",  "off", "Off", "OFF", "<<", "="};
  for (std::string_view w : kWords) {
    if (s == w) return false;
  }
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '/' || c == '.' || c == '-';
  };
  // A leading digit, dot, sign or dash may be a number, a date or a list item to somebody.
  if (!((s[0] >= 'a' && s[0] <= 'z') || (s[0] >= 'A' && s[0] <= 'Z') || s[0] == '/')) return false;
  for (char c : s) {
    if (!word(c)) return false;
  }
  return true;
}

// JSON strings are YAML's double-quoted style, save for characters that YAML does not allow in its text or
// takes for line breaks: DEL, C1 controls, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF.
void append_double_quoted(std::string& out, std::string_view s) {
  const std::string quoted = json::quoted(s);
  const auto byte = [&](size_t i) -> unsigned {
    return i < quoted.size() ? static_cast<unsigned char>(quoted[i]) : 0;
  };
  for (size_t i = 0; i < quoted.size(); i++) {
    const unsigned three = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    if (byte(i) == 0x7f) {
      out += "\\x7f";
    } else if (byte(i) == 0xc2 && byte(i + 1) >= 0x80 && byte(i + 1) < 0xa0) {
      out += strf("\\x%02x", byte(++i));
    } else if (three == 0xe280a8 || three == 0xe280a9 || three == 0xefbbbf || three == 0xefbfbe ||
               three == 0xefbfbf) {
      out += strf("\\u%04x", (three >> 16 & 0xf) << 12 | (three >> 8 & 0x3f) << 6 | (three & 0x3f));
      i += 2;
    } else {
      out += quoted[i];
    }
  }
}

void dump_value(std::string& out, json::Ref v, int indent);

void dump_scalar(std::string& out, json::Ref v) {
  if (v.is_string()) {
    if (plain_safe(v.str())) {
      out += v.str();
    } else {
      append_double_quoted(out, v.str());
    }
  } else {
    out += v.dump();
  }
  out += '\n';
}

bool inline_value(json::Ref v) { return (!v.is_object() && !v.is_array()) || v.size() == 0; }

void dump_members(std::string& out, json::Ref v, int indent, bool first_on_line) {
  for (json::Ref m : v) {
    if (!first_on_line) out.append(static_cast<size_t>(indent), ' ');
    first_on_line = false;
    if (plain_safe(m.key())) {
      out += m.key();
    } else {
      append_double_quoted(out, m.key());
    }
    out += ':';
    if (inline_value(m)) {
      out += ' ';
      dump_scalar(out, m);
    } else {
      out += '\n';
      dump_value(out, m, m.is_array() ? indent : indent + 2);
    }
  }
}

void dump_value(std::string& out, json::Ref v, int indent) {
  if (inline_value(v)) {
    out.append(static_cast<size_t>(indent), ' ');
    dump_scalar(out, v);
    return;
  }
  if (v.is_object()) {
    dump_members(out, v, indent, false);
    return;
  }
  for (json::Ref item : v) {
    out.append(static_cast<size_t>(indent), ' ');
    out += '-';
    if (inline_value(item)) {
      out += ' ';
      dump_scalar(out, item);
    } else if (item.is_object()) {
      out += ' ';
      dump_members(out, item, indent + 2, true);
    } else {
      out += '\n';
      dump_value(out, item, indent + 2);
    }
  }
}

}  // namespace

const Node* Node::find(std::string_view key) const {
  for (const auto& [k, v] : members) {
    if (k.scalar == key) return &v;
  }
  return nullptr;
}

Result<std::vector<Node>> parse(std::string_view text, const Options& options) {
  return Reader(text, options).documents();
}

json::Value to_json(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return json::Value::null();
    case Node::Kind::boolean:
      return json::Value::boolean(node.scalar[0] == 't' || node.scalar[0] == 'T');
    case Node::Kind::number:
      return number_value(node.scalar);
    case Node::Kind::string:
      return json::Value::string(node.scalar);
    case Node::Kind::sequence: {
      json::Value v = json::Value::array();
      for (const Node& item : node.items) v.ref().push(to_json(item));
      return v;
    }
    case Node::Kind::mapping:
      break;
  }
  json::Value v = json::Value::object();
  for (const auto& [key, value] : node.members) v.ref().set(key.scalar, to_json(value));
  return v;
}

std::string dump(json::Ref value) {
  std::string out;
  dump_value(out, value, 0);
  return out;
}

}  // namespace limpet::yaml
