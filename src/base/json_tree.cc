#include <cjson/cJSON.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "base/assert.h"
#include "base/json.h"
#include "base/json_scan.h"

namespace limpet::json {

namespace {

// A number that a double cannot hold is kept as text in a cJSON_Raw node.
cJSON* number_node(std::string_view literal) {
  double d = 0;
  if (scan::exact_as_double(literal, &d)) return cJSON_CreateNumber(d);
  return cJSON_CreateRaw(std::string(literal).c_str());
}

// cJSON's own append walks nothing (it keeps the tail in child->prev), and takes the key without copying it
// again.
void append(cJSON* parent, cJSON* item) { cJSON_AddItemToArray(parent, item); }

cJSON* new_string(std::string_view s) {
  cJSON* n = cJSON_CreateNull();
  LIMPET_ASSERT(n);
  n->type = cJSON_String;
  n->valuestring = static_cast<char*>(cJSON_malloc(s.size() + 1));
  LIMPET_ASSERT(n->valuestring);
  if (!s.empty()) memcpy(n->valuestring, s.data(), s.size());
  n->valuestring[s.size()] = 0;
  return n;
}

void set_key(cJSON* item, std::string_view key) {
  char* k = static_cast<char*>(cJSON_malloc(key.size() + 1));
  LIMPET_ASSERT(k);
  if (!key.empty()) memcpy(k, key.data(), key.size());
  k[key.size()] = 0;
  if (item->string && !(item->type & cJSON_StringIsConst)) cJSON_free(item->string);
  item->string = k;
  item->type &= ~cJSON_StringIsConst;
}

// Checks and (with `build`) makes the tree; recursion is bounded by max_depth.
class Parser {
 public:
  Parser(std::string_view text, const Limits& limits, bool build, std::vector<std::string>* duplicates)
      : t_(text), limits_(limits), build_(build), duplicates_(duplicates) {}

  Result<cJSON*> document() {
    TRY(cJSON * root, value(0));
    Value owned(root);
    scan::skip_space(t_, &pos_);
    if (pos_ != t_.size()) {
      return fail(Errc::invalid_argument, strf("unexpected bytes after the JSON value at byte %zu", pos_));
    }
    return owned.release();
  }

 private:
  Result<cJSON*> value(int depth) {
    scan::skip_space(t_, &pos_);
    if (pos_ >= t_.size()) return fail(Errc::invalid_argument, strf("unexpected end at byte %zu", pos_));
    if (++values_ > limits_.max_values) {
      return fail(Errc::too_large, strf("more than %zu values at byte %zu", limits_.max_values, pos_));
    }
    const char c = t_[pos_];
    if (c == '{' || c == '[') {
      if (depth >= limits_.max_depth) {
        return fail(Errc::invalid_argument,
                    strf("nesting deeper than %d at byte %zu", limits_.max_depth, pos_));
      }
      return c == '{' ? object(depth) : array(depth);
    }
    if (c == '"') {
      std::string s;
      CHECK_OK(scan::string(t_, &pos_, build_ ? &s : nullptr));
      return build_ ? new_string(s) : nullptr;
    }
    const size_t start = pos_;
    if (c == '-' || (c >= '0' && c <= '9')) {
      CHECK_OK(scan::number(t_, &pos_));
      return build_ ? number_node(t_.substr(start, pos_ - start)) : nullptr;
    }
    CHECK_OK(scan::word(t_, &pos_));
    if (!build_) return nullptr;
    return c == 't' ? cJSON_CreateTrue() : c == 'f' ? cJSON_CreateFalse() : cJSON_CreateNull();
  }

  Result<> duplicate(const std::string& key, size_t at) {
    if (!limits_.allow_duplicates) {
      return fail(Errc::invalid_argument, strf("duplicate key %s at byte %zu", quoted(key).c_str(), at));
    }
    if (duplicates_ && duplicates_->size() < 100)
      duplicates_->push_back(path_ + (path_.empty() ? "" : ".") + key);
    return {};
  }

  Result<cJSON*> object(int depth) {
    Value node(build_ ? cJSON_CreateObject() : nullptr);
    // With the node: replacing a repeated key must not search for it.
    std::unordered_map<std::string, cJSON*> keys;
    pos_++;
    scan::skip_space(t_, &pos_);
    if (take('}')) return node.release();
    for (;;) {
      scan::skip_space(t_, &pos_);
      const size_t at = pos_;
      std::string key;
      CHECK_OK(scan::string(t_, &pos_, &key));
      const auto [entry, fresh] = keys.try_emplace(key, nullptr);
      const bool repeated = !fresh;
      if (repeated) CHECK_OK(duplicate(key, at));
      scan::skip_space(t_, &pos_);
      if (!take(':')) return fail(Errc::invalid_argument, strf("expected ':' at byte %zu", pos_));
      const size_t mark = path_.size();
      if (duplicates_) path_ += (mark ? "." : "") + key;
      TRY(cJSON * child, value(depth + 1));
      path_.resize(mark);
      if (build_) {
        if (repeated) cJSON_Delete(cJSON_DetachItemViaPointer(node.get(), entry->second));
        entry->second = child;
        append(node.get(), child);
        set_key(child, key);
      }
      scan::skip_space(t_, &pos_);
      if (take('}')) return node.release();
      if (!take(',')) return fail(Errc::invalid_argument, strf("expected ',' or '}' at byte %zu", pos_));
    }
  }

  Result<cJSON*> array(int depth) {
    Value node(build_ ? cJSON_CreateArray() : nullptr);
    pos_++;
    scan::skip_space(t_, &pos_);
    if (take(']')) return node.release();
    for (size_t index = 0;; index++) {
      const size_t mark = path_.size();
      if (duplicates_) path_ += strf("[%zu]", index);
      TRY(cJSON * child, value(depth + 1));
      path_.resize(mark);
      if (build_) append(node.get(), child);
      scan::skip_space(t_, &pos_);
      if (take(']')) return node.release();
      if (!take(',')) return fail(Errc::invalid_argument, strf("expected ',' or ']' at byte %zu", pos_));
    }
  }

  bool take(char c) {
    if (pos_ < t_.size() && t_[pos_] == c) {
      pos_++;
      return true;
    }
    return false;
  }

  std::string_view t_;
  size_t values_ = 0;
  const Limits& limits_;
  bool build_;
  std::vector<std::string>* duplicates_;
  std::string path_;
  size_t pos_ = 0;
};

cJSON* find(cJSON* object, std::string_view key) {
  if (!object || (object->type & 0xff) != cJSON_Object) return nullptr;
  for (cJSON* c = object->child; c; c = c->next) {
    if (c->string && key == c->string) return c;
  }
  return nullptr;
}

cJSON* child_at(cJSON* node, size_t index) {
  if (!node) return nullptr;
  cJSON* c = node->child;
  while (c && index-- > 0) c = c->next;
  return c;
}

void append_number(std::string& out, const cJSON* n) {
  const double d = n->valuedouble;
  char buf[64];
  if (d == std::floor(d) && std::fabs(d) <= 9007199254740992.0) {
    const auto r = std::to_chars(buf, buf + sizeof buf, static_cast<int64_t>(d));
    out.append(buf, r.ptr);
    return;
  }
  if (!std::isfinite(d)) {
    out += "null";
    return;
  }
  const auto r = std::to_chars(buf, buf + sizeof buf, d);
  out.append(buf, r.ptr);
}

void print(std::string& out, const cJSON* n, int indent, int level) {
  const auto newline = [&](int l) {
    if (indent == 0) return;
    out += '\n';
    out.append(static_cast<size_t>(l * indent), ' ');
  };
  switch (n->type & 0xff) {
    case cJSON_True:
      out += "true";
      return;
    case cJSON_False:
      out += "false";
      return;
    case cJSON_String:
      append_quoted(out, n->valuestring ? n->valuestring : "");
      return;
    case cJSON_Number:
      append_number(out, n);
      return;
    case cJSON_Raw:
      out += n->valuestring ? n->valuestring : "null";
      return;
    case cJSON_Object:
    case cJSON_Array:
      break;
    default:
      out += "null";
      return;
  }
  const bool object = (n->type & 0xff) == cJSON_Object;
  out += object ? '{' : '[';
  for (const cJSON* c = n->child; c; c = c->next) {
    newline(level + 1);
    if (object) {
      append_quoted(out, c->string ? c->string : "");
      out += indent ? ": " : ":";
    }
    print(out, c, indent, level + 1);
    if (c->next) out += ',';
  }
  if (n->child) newline(level);
  out += object ? '}' : ']';
}

cJSON* copy(const cJSON* n) {
  cJSON* out = nullptr;
  switch (n->type & 0xff) {
    case cJSON_Object:
      out = cJSON_CreateObject();
      break;
    case cJSON_Array:
      out = cJSON_CreateArray();
      break;
    case cJSON_String:
      out = new_string(n->valuestring ? n->valuestring : "");
      break;
    case cJSON_Raw:
      out = cJSON_CreateRaw(n->valuestring ? n->valuestring : "null");
      break;
    case cJSON_Number:
      out = cJSON_CreateNumber(n->valuedouble);
      break;
    case cJSON_True:
      out = cJSON_CreateTrue();
      break;
    case cJSON_False:
      out = cJSON_CreateFalse();
      break;
    default:
      out = cJSON_CreateNull();
      break;
  }
  LIMPET_ASSERT(out);
  for (const cJSON* c = n->child; c; c = c->next) {
    cJSON* child = copy(c);
    append(out, child);
    if (c->string) set_key(child, c->string);
  }
  return out;
}

// A node that stands alone: out of its list, without a key.
Value detach(cJSON* parent, cJSON* item) {
  cJSON_DetachItemViaPointer(parent, item);
  if (item->string && !(item->type & cJSON_StringIsConst)) cJSON_free(item->string);
  item->string = nullptr;
  item->type &= ~cJSON_StringIsConst;
  return Value(item);
}

bool equal_nodes(Ref a, Ref b);

// Members are mostly in the same order. Where they are not, those of a large object are found by an index:
// what comes from outside must not cost the square of its size.
bool equal_objects(Ref a, Ref b) {
  constexpr size_t small = 32;
  const size_t size = a.size();
  if (size != b.size()) return false;
  std::unordered_map<std::string_view, Ref> index;
  auto in_order = b.begin();
  for (Ref x : a) {
    Ref y = in_order != b.end() ? *in_order : Ref();
    if (y) ++in_order;
    if (y && y.key() != x.key()) {
      if (size <= small) {
        y = b[x.key()];
      } else {
        if (index.empty()) {
          for (Ref member : b) index.emplace(member.key(), member);
        }
        const auto found = index.find(x.key());
        y = found == index.end() ? Ref() : found->second;
      }
    }
    if (!y || !equal_nodes(x, y)) return false;
  }
  return true;
}

bool equal_arrays(Ref a, Ref b) {
  auto x = a.begin(), y = b.begin();
  for (; x != a.end() && y != b.end(); ++x, ++y) {
    if (!equal_nodes(*x, *y)) return false;
  }
  return !(x != a.end()) && !(y != b.end());
}

bool equal_nodes(Ref a, Ref b) {
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::missing:
    case Type::null:
      return true;
    case Type::boolean:
      return a.boolean() == b.boolean();
    case Type::string:
      return a.str() == b.str();
    case Type::object:
      return equal_objects(a, b);
    case Type::array:
      return equal_arrays(a, b);
    case Type::number:
      break;
  }
  const auto x = a.exact_integer(), y = b.exact_integer();
  if (x || y) return x == y;
  return a.real() == b.real();
}

}  // namespace

Result<> validate(std::string_view text, const Limits& limits) {
  auto r = Parser(text, limits, false, nullptr).document();
  if (!r) return std::unexpected(std::move(r).error());
  return {};
}

Result<Value> parse(std::string_view text, const Limits& limits, std::vector<std::string>* duplicates) {
  TRY(cJSON * root, Parser(text, limits, true, duplicates).document());
  return Value(root);
}

size_t count_values(Ref tree, size_t limit) {
  size_t n = 1;
  for (Ref child : tree) {
    if (n > limit) break;
    n += count_values(child, limit);
  }
  return n;
}

Value& Value::operator=(Value&& o) noexcept {
  if (this != &o) {
    cJSON_Delete(node_);
    node_ = std::exchange(o.node_, nullptr);
  }
  return *this;
}
Value::~Value() { cJSON_Delete(node_); }
Value Value::object() { return Value(cJSON_CreateObject()); }
Value Value::array() { return Value(cJSON_CreateArray()); }
Value Value::string(std::string_view s) { return Value(new_string(s)); }
Value Value::number(int64_t n) { return Value(number_node(std::to_string(n))); }
Value Value::real(double d) { return Value(cJSON_CreateNumber(d)); }
Value Value::boolean(bool b) { return Value(cJSON_CreateBool(b)); }
Value Value::null() { return Value(cJSON_CreateNull()); }
Ref Value::ref() const { return Ref(node_); }
Value::operator Ref() const { return Ref(node_); }
Value Value::clone() const { return ref().clone(); }

Type Ref::type() const {
  if (!node_) return Type::missing;
  switch (node_->type & 0xff) {
    case cJSON_True:
    case cJSON_False:
      return Type::boolean;
    case cJSON_Number:
    case cJSON_Raw:
      return Type::number;
    case cJSON_String:
      return Type::string;
    case cJSON_Array:
      return Type::array;
    case cJSON_Object:
      return Type::object;
    default:
      return Type::null;
  }
}

Ref Ref::operator[](std::string_view key) const { return Ref(find(node_, key)); }
Ref Ref::at(size_t index) const { return Ref(child_at(node_, index)); }

size_t Ref::size() const {
  size_t n = 0;
  for (cJSON* c = node_ ? node_->child : nullptr; c; c = c->next) n++;
  return n;
}

std::string_view Ref::str(std::string_view otherwise) const {
  return is_string() && node_->valuestring ? std::string_view(node_->valuestring) : otherwise;
}
bool Ref::boolean(bool otherwise) const {
  return type() == Type::boolean ? (node_->type & 0xff) == cJSON_True : otherwise;
}
int64_t Ref::integer(int64_t otherwise) const { return exact_integer().value_or(otherwise); }

std::optional<int64_t> Ref::exact_integer() const {
  if (!is_number()) return std::nullopt;
  if ((node_->type & 0xff) == cJSON_Raw) {
    int64_t v = 0;
    if (node_->valuestring && scan::parse_int64(node_->valuestring, &v)) return v;
    return std::nullopt;
  }
  const double d = node_->valuedouble;
  if (d != std::floor(d) || std::fabs(d) > 9007199254740992.0) return std::nullopt;
  return static_cast<int64_t>(d);
}

double Ref::real(double otherwise) const {
  if (!is_number()) return otherwise;
  if ((node_->type & 0xff) != cJSON_Raw) return node_->valuedouble;
  return node_->valuestring ? strtod(node_->valuestring, nullptr) : otherwise;
}

std::string_view Ref::key() const {
  return node_ && node_->string ? std::string_view(node_->string) : std::string_view();
}
bool Ref::equals(Ref other) const { return equal_nodes(*this, other); }
Ref::Iterator& Ref::Iterator::operator++() {
  n_ = n_->next;
  return *this;
}
Ref::Iterator Ref::begin() const { return Iterator(node_ ? node_->child : nullptr); }

Ref Ref::set(std::string_view key, Value value) {
  LIMPET_ASSERT(is_object() && value);
  cJSON* item = value.release();
  set_key(item, key);
  if (cJSON* old = find(node_, key)) {
    cJSON_ReplaceItemViaPointer(node_, old, item);
  } else {
    append(node_, item);
  }
  return Ref(item);
}

Ref Ref::add(std::string_view key, Value value) {
  LIMPET_ASSERT(is_object() && value);
  cJSON* item = value.release();
  set_key(item, key);
  append(node_, item);
  return Ref(item);
}
Ref Ref::ensure_object(std::string_view key) {
  const Ref r = (*this)[key];
  return r.is_object() ? r : set(key, Value::object());
}
Ref Ref::ensure_array(std::string_view key) {
  const Ref r = (*this)[key];
  return r.is_array() ? r : set(key, Value::array());
}
bool Ref::remove(std::string_view key) { return static_cast<bool>(take(key)); }
Value Ref::take(std::string_view key) {
  cJSON* item = find(node_, key);
  return item ? detach(node_, item) : Value();
}
Ref Ref::push(Value value) {
  LIMPET_ASSERT(is_array() && value);
  cJSON* item = value.release();
  append(node_, item);
  return Ref(item);
}
Ref Ref::insert(size_t index, Value value) {
  LIMPET_ASSERT(is_array() && value);
  cJSON* after = child_at(node_, index);
  if (!after) return push(std::move(value));
  // Linked by hand: cJSON_InsertItemInArray of Debian 12's 1.7.15 refuses every place but the first.
  cJSON* item = value.release();
  item->next = after;
  item->prev = after->prev;
  after->prev = item;
  if (after == node_->child) {
    node_->child = item;
  } else {
    item->prev->next = item;
  }
  return Ref(item);
}
bool Ref::remove_at(size_t index) { return static_cast<bool>(take_at(index)); }
Value Ref::take_at(size_t index) {
  cJSON* item = child_at(node_, index);
  return item ? detach(node_, item) : Value();
}
Ref Ref::replace_at(size_t index, Value value) {
  cJSON* old = child_at(node_, index);
  LIMPET_ASSERT(old && value);
  cJSON* item = value.release();
  cJSON_ReplaceItemViaPointer(node_, old, item);
  return Ref(item);
}

Value Ref::clone() const { return node_ ? Value(copy(node_)) : Value(); }
std::string Ref::dump() const {
  std::string out;
  if (node_) print(out, node_, 0, 0);
  return out;
}
std::string Ref::pretty() const {
  std::string out;
  if (node_) print(out, node_, 2, 0);
  return out;
}

}  // namespace limpet::json
