#include "schema/patch_json.h"

#include <algorithm>

namespace limpet::schema {

namespace {

using json::Ref;
using json::Value;

constexpr size_t kMaxOps = 10000;
constexpr size_t kMaxCopied = 3 * 1024 * 1024;
constexpr int64_t kMaxSteps = 20'000'000;  // nodes looked at, over all operations: a fraction of a second
constexpr size_t kMaxDepth = 64;

using Pointer = std::vector<std::string>;

Result<Pointer> parse_pointer(std::string_view text) {
  Pointer out;
  if (text.empty()) return out;
  if (text[0] != '/')
    return fail(Errc::invalid_argument, "JSON pointer must start with '/': " + std::string(text));
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '/') {
      if (out.size() == kMaxDepth)
        return fail(Errc::invalid_argument, "JSON pointer is deeper than 64 levels");
      out.emplace_back();
    } else if (text[i] != '~') {
      out.back() += text[i];
    } else if (i + 1 < text.size() && (text[i + 1] == '0' || text[i + 1] == '1')) {
      out.back() += text[++i] == '0' ? '~' : '/';
    } else {
      return fail(Errc::invalid_argument, "invalid escape in JSON pointer: " + std::string(text));
    }
  }
  return out;
}

size_t depth_of(Ref node, size_t limit) {
  if (!node.is_object() && !node.is_array()) return 0;
  if (limit == 0) return 1;
  size_t deepest = 0;
  for (Ref child : node) deepest = std::max(deepest, depth_of(child, limit - 1));
  return deepest + 1;
}

// Array indexes: decimal without leading zeros.
bool parse_index(std::string_view s, size_t* out) {
  if (s.empty() || s.size() > 9 || (s.size() > 1 && s[0] == '0')) return false;
  size_t n = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return false;
    n = n * 10 + static_cast<size_t>(c - '0');
  }
  *out = n;
  return true;
}

class Patcher {
 public:
  explicit Patcher(Value object) : root_(std::move(object)) {}
  Result<> apply(Ref op);
  Value take() { return std::move(root_); }

 private:
  // The node a pointer names; missing when there is none.
  Result<Ref> find(const Pointer& p, size_t length);
  Result<Ref> child(Ref node, const std::string& token);
  Result<> add(const Pointer& p, const std::string& path, Value value, const char* op);
  Result<Value> detach(const Pointer& p, const std::string& path, const char* op);
  Result<> replace(const Pointer& p, const std::string& path, Value value);
  Result<> test(const Pointer& p, const std::string& path, Ref value);
  Result<> move_or_copy(Ref op, const Pointer& p, const std::string& path, bool copy);
  Result<> spend(size_t steps) {
    if ((steps_ += static_cast<int64_t>(steps)) <= kMaxSteps) return {};
    return fail(Errc::too_large, "the JSON patch does too much work on this object");
  }

  Value root_;
  int64_t steps_ = 0;
  size_t copied_ = 0;
};

std::unexpected<Error> misfit(std::string message) { return fail(Errc::conflict, std::move(message)); }

Result<Ref> Patcher::child(Ref node, const std::string& token) {
  if (node.is_object()) {
    size_t steps = 1;
    Ref found;
    for (Ref c : node) {
      steps++;
      if (c.key() == token) {
        found = c;
        break;
      }
    }
    CHECK_OK(spend(steps));
    return found;
  }
  size_t index = 0;
  if (!node.is_array() || !parse_index(token, &index)) return Ref();
  CHECK_OK(spend(index + 1));
  return node.at(index);
}

Result<Ref> Patcher::find(const Pointer& p, size_t length) {
  Ref at = root_.ref();
  for (size_t i = 0; i < length && at; i++) {
    TRY(at, child(at, p[i]));
  }
  return at;
}

Result<> Patcher::add(const Pointer& p, const std::string& path, Value value, const char* op) {
  if (p.size() + depth_of(value.ref(), kMaxDepth) > kMaxDepth) {
    return fail(Errc::invalid_argument, std::string(op) + " operation nests deeper than 64 levels: " + path);
  }
  if (p.empty()) {
    root_ = std::move(value);
    return {};
  }
  TRY(Ref parent, find(p, p.size() - 1));
  const std::string& token = p.back();
  if (parent.is_object()) {
    CHECK_OK(spend(2));
    TRY(Ref old, child(parent, token));
    (void)old;  // looked up for its cost: set() walks the members too
    parent.set(token, std::move(value));
    return {};
  }
  if (!parent.is_array()) {
    return misfit(std::string(op) + " operation does not apply: doc is missing path: \"" + path +
                  "\": missing value");
  }
  if (token == "-") {
    parent.push(std::move(value));
    return {};
  }
  size_t index = 0;
  if (!parse_index(token, &index)) {
    return misfit(std::string("error in ") + op + " for path: '" + path +
                  "': value was not a proper array index: '" + token + "'");
  }
  CHECK_OK(spend(index + 1));
  if (index > 0 && !parent.at(index - 1)) {
    return misfit(std::string("error in ") + op + " for path: '" + path +
                  "': Unable to access invalid index: " + token + ": invalid index referenced");
  }
  parent.insert(index, std::move(value));
  return {};
}

Result<Value> Patcher::detach(const Pointer& p, const std::string& path, const char* op) {
  if (p.empty()) return misfit(std::string(op) + " operation does not apply to the whole document");
  TRY(Ref parent, find(p, p.size() - 1));
  if (!parent.is_object() && !parent.is_array()) {
    return misfit(std::string(op) + " operation does not apply: doc is missing path: \"" + path +
                  "\": missing value");
  }
  TRY(Ref target, child(parent, p.back()));
  if (!target) {
    return misfit(std::string("error in ") + op + " for path: '" + path +
                  "': Unable to remove nonexistent key: " + p.back() + ": missing value");
  }
  if (parent.is_object()) return parent.take(p.back());
  size_t index = 0;
  parse_index(p.back(), &index);
  return parent.take_at(index);
}

Result<> Patcher::replace(const Pointer& p, const std::string& path, Value value) {
  if (p.size() + depth_of(value.ref(), kMaxDepth) > kMaxDepth) {
    return fail(Errc::invalid_argument, "replace operation nests deeper than 64 levels: " + path);
  }
  if (p.empty()) {
    root_ = std::move(value);
    return {};
  }
  TRY(Ref parent, find(p, p.size() - 1));
  if (!parent.is_object() && !parent.is_array()) {
    return misfit("replace operation does not apply: doc is missing path: " + path + ": missing value");
  }
  TRY(Ref target, child(parent, p.back()));
  if (!target)
    return misfit("replace operation does not apply: doc is missing key: " + path + ": missing value");
  if (parent.is_object()) {
    parent.set(p.back(), std::move(value));
    return {};
  }
  size_t index = 0;
  parse_index(p.back(), &index);
  parent.replace_at(index, std::move(value));
  return {};
}

Result<> Patcher::test(const Pointer& p, const std::string& path, Ref value) {
  TRY(Ref target, find(p, p.size()));
  // An absent member passes a test for null, as upstream's library has it.
  const bool same = target ? target.equals(value) : value.is_null();
  if (!same) return misfit("testing value " + path + " failed: test failed");
  return {};
}

Result<> Patcher::move_or_copy(Ref op, const Pointer& p, const std::string& path, bool copy) {
  const char* name = copy ? "copy" : "move";
  if (!op["from"].is_string()) {
    return fail(
        Errc::invalid_argument,
        std::string(name) + " operation failed to decode from: operation, missing from field: missing value");
  }
  const std::string from_text(op["from"].str());
  TRY(Pointer from, parse_pointer(from_text));
  if (!copy) {
    if (from.size() < p.size() && std::equal(from.begin(), from.end(), p.begin())) {
      return misfit("move operation does not apply: " + from_text + " cannot be moved into itself: " + path);
    }
    TRY(Ref source, find(from, from.size()));
    if (!source) {
      return misfit("move operation does not apply: doc is missing from path: " + from_text +
                    ": missing value");
    }
    if (from == p) return {};
    TRY(Value moved, detach(from, from_text, name));
    return add(p, path, std::move(moved), name);
  }
  TRY(Ref source, find(from, from.size()));
  if (!source) {
    return misfit("copy operation does not apply: doc is missing from path: " + from_text +
                  ": missing value");
  }
  copied_ += source.dump().size();
  if (copied_ > kMaxCopied) {
    return fail(Errc::too_large, "Unable to copy, the accumulated size increase of copy is " +
                                     std::to_string(copied_) + ", exceeding the limit " +
                                     std::to_string(kMaxCopied));
  }
  return add(p, path, source.clone(), name);
}

Result<> Patcher::apply(Ref op) {
  if (!op.is_object()) return fail(Errc::invalid_argument, "a JSON patch operation must be an object");
  const std::string_view name = op["op"].str();
  if (!op["path"].is_string()) {
    return fail(Errc::invalid_argument, "operation missing path field: missing value");
  }
  const std::string path(op["path"].str());
  TRY(Pointer p, parse_pointer(path));
  const Ref value = op["value"];
  if ((name == "add" || name == "replace" || name == "test") && !value) {
    return fail(Errc::invalid_argument, "operation, missing value field: missing value");
  }
  if (name == "add") return add(p, path, value.clone(), "add");
  if (name == "replace") return replace(p, path, value.clone());
  if (name == "test") return test(p, path, value);
  if (name == "move") return move_or_copy(op, p, path, false);
  if (name == "copy") return move_or_copy(op, p, path, true);
  if (name == "remove") {
    TRY(Value removed, detach(p, path, "remove"));
    return {};
  }
  return fail(Errc::invalid_argument, "Unexpected kind: " + std::string(name));
}

}  // namespace

Result<Value> apply_json_patch(Value object, Ref patch) {
  if (!patch.is_array()) return fail(Errc::invalid_argument, "a JSON patch must be a list of operations");
  const size_t count = patch.size();
  if (count > kMaxOps) {
    return fail(Errc::too_large,
                "The allowed maximum operations in a JSON patch is 10000, got " + std::to_string(count));
  }
  Patcher patcher(std::move(object));
  for (Ref op : patch) CHECK_OK(patcher.apply(op));
  return patcher.take();
}

}  // namespace limpet::schema
