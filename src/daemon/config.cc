#include "daemon/config.h"

#include <algorithm>
#include <cstdio>

#include "base/atomic_file.h"
#include "base/yaml.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_problems = 20;
constexpr size_t max_file_bytes = 1u << 20;

bool below(std::string_view path, std::string_view prefix) {
  return prefix.empty() ||
         (path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '.');
}

const char* kind_name(yaml::Node::Kind kind) {
  switch (kind) {
    case yaml::Node::Kind::null:
      return "nothing";
    case yaml::Node::Kind::boolean:
      return "a boolean";
    case yaml::Node::Kind::number:
      return "a number";
    case yaml::Node::Kind::string:
      return "a string";
    case yaml::Node::Kind::sequence:
      return "a list";
    case yaml::Node::Kind::mapping:
      return "a mapping";
  }
  return "something else";
}

std::string check_choice(const char* choices, std::string_view value) {
  std::string_view rest(choices);
  while (true) {
    const size_t comma = rest.find(',');
    if (rest.substr(0, comma) == value) return "";
    if (comma == std::string_view::npos) return strf("must be one of %s", choices);
    rest.remove_prefix(comma + 1);
  }
}

std::string check_string(const Key& key, std::string_view value) {
  if (value.empty()) return key.rule.may_be_empty ? "" : "must not be empty";
  if (key.rule.choices) return check_choice(key.rule.choices, value);
  return check_format(key.rule.format, value);
}

Result<int64_t> read_number(const Key& key, std::string_view text) {
  if (key.rule.number == Number::duration_ms) return parse_duration_ms(text);
  if (key.rule.number == Number::size) return parse_size(text);
  auto number = parse_size(text);
  if (!number || text.find_first_not_of("0123456789") != std::string_view::npos) {
    return fail(Errc::invalid_argument, "must be a whole number");
  }
  return number;
}

std::string number_text(const Key& key, int64_t value) {
  if (key.rule.number == Number::duration_ms) return strf("%lldms", static_cast<long long>(value));
  return strf("%lld", static_cast<long long>(value));
}

// One pass over the file's tree; problems are gathered, nothing stops at the first.
class Checker {
 public:
  explicit Checker(Checked& out) : out_(out) {}

  void mapping(const yaml::Node& node, const std::string& prefix);
  void cross_check();
  void problem(const yaml::Node& node, std::string message) {
    problem(node.line, node.column, std::move(message));
  }
  void problem(int line, int column, std::string message) {
    if (out_.problems.size() < max_problems) {
      out_.problems.push_back({line, column, std::move(message)});
    } else {
      out_.more_problems++;
    }
  }

 private:
  void unknown(const yaml::Node& name, const std::string& path);
  void value(const Key& key, const yaml::Node& node);
  void scalar(const Key& key, const yaml::Node& node, std::string* target);
  void number(const Key& key, const yaml::Node& node, int64_t* target);
  void list(const Key& key, const yaml::Node& node, const std::string& name, Strings* target);
  void map(const Key& key, const yaml::Node& node, StringMap* target);
  void list_map(const Key& key, const yaml::Node& node, StringsMap* target);
  bool string_of(const yaml::Node& node, const std::string& name);
  bool shape(const yaml::Node& node, yaml::Node::Kind kind, const std::string& name, const char* wanted);
  std::pair<int, int> place(const char* path) const;

  Checked& out_;
  std::vector<std::pair<std::string, const yaml::Node*>> seen_;  // for messages about two keys together
};

void Checker::mapping(const yaml::Node& node, const std::string& prefix) {
  for (const auto& [name, member] : node.members) {
    const std::string path = prefix.empty() ? name.scalar : prefix + "." + name.scalar;
    const Key* exact = nullptr;
    bool group = false;
    for (const Key& key : config_keys()) {
      if (path == key.path) exact = &key;
      if (below(key.path, path)) group = true;
    }
    if (exact) {
      seen_.emplace_back(path, &member);
      value(*exact, member);
    } else if (!group) {
      unknown(name, path);
    } else if (member.kind != yaml::Node::Kind::null &&
               shape(member, yaml::Node::Kind::mapping, path, "a mapping")) {
      mapping(member, path);
    }
  }
}

// Names the nearest known key: the same name elsewhere, or one within a typing error's distance.
void Checker::unknown(const yaml::Node& name, const std::string& path) {
  std::string best;
  int best_distance = INT32_MAX;
  auto consider = [&](const std::string& candidate) {
    int distance = edit_distance(path, candidate);
    const size_t dot = candidate.rfind('.');
    if (dot != std::string::npos && candidate.substr(dot + 1) == name.scalar)
      distance = std::min(distance, 2);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  };
  for (const Key& key : config_keys()) {
    const std::string candidate(key.path);
    consider(candidate);
    for (size_t dot = candidate.find('.'); dot != std::string::npos; dot = candidate.find('.', dot + 1)) {
      consider(candidate.substr(0, dot));
    }
  }
  std::string message = strf("unknown key \"%s\"", path.substr(0, 100).c_str());
  if (best_distance <= std::max<int>(2, static_cast<int>(path.size()) / 3))
    message += strf("; did you mean \"%s\"?", best.c_str());
  problem(name, std::move(message));
}

bool Checker::shape(const yaml::Node& node, yaml::Node::Kind kind, const std::string& name,
                    const char* wanted) {
  if (node.kind == kind) return true;
  problem(node, strf("%s must be %s, not %s", name.c_str(), wanted, kind_name(node.kind)));
  return false;
}

bool Checker::string_of(const yaml::Node& node, const std::string& name) {
  if (node.kind == yaml::Node::Kind::number || node.kind == yaml::Node::Kind::boolean) {
    problem(node, strf("%s must be a string; write \"%s\" in quotes", name.c_str(),
                       node.scalar.substr(0, 64).c_str()));
    return false;
  }
  return shape(node, yaml::Node::Kind::string, name, "a string");
}

void Checker::value(const Key& key, const yaml::Node& node) {
  if (node.kind == yaml::Node::Kind::null) return;  // the default stays
  Target target = key.target(out_.config);
  if (auto* flag = std::get_if<bool*>(&target)) {
    if (shape(node, yaml::Node::Kind::boolean, key.path, "true or false")) **flag = node.scalar == "true";
  } else if (auto* integer = std::get_if<int64_t*>(&target)) {
    number(key, node, *integer);
  } else if (auto* text = std::get_if<std::string*>(&target)) {
    scalar(key, node, *text);
  } else if (auto* strings = std::get_if<Strings*>(&target)) {
    list(key, node, key.path, *strings);
  } else if (auto* strings_by_key = std::get_if<StringMap*>(&target)) {
    map(key, node, *strings_by_key);
  } else {
    list_map(key, node, std::get<StringsMap*>(target));
  }
}

void Checker::scalar(const Key& key, const yaml::Node& node, std::string* target) {
  if (!string_of(node, key.path)) return;
  if (std::string wrong = check_string(key, node.scalar); !wrong.empty()) {
    problem(node, strf("%s %s", key.path, wrong.c_str()));
    return;
  }
  *target = node.scalar;
}

void Checker::number(const Key& key, const yaml::Node& node, int64_t* target) {
  const bool with_unit = key.rule.number != Number::plain;
  if (node.kind != yaml::Node::Kind::number && !(with_unit && node.kind == yaml::Node::Kind::string)) {
    shape(node, yaml::Node::Kind::number, key.path, with_unit ? "a number with its unit" : "a number");
    return;
  }
  auto number = read_number(key, node.scalar);
  if (!number) {
    problem(node, strf("%s %s", key.path, number.error().message.c_str()));
  } else if (*number < key.rule.min || *number > key.rule.max) {
    problem(node, strf("%s must be %s to %s", key.path, number_text(key, key.rule.min).c_str(),
                       number_text(key, key.rule.max).c_str()));
  } else {
    *target = *number;
  }
}

void Checker::list(const Key& key, const yaml::Node& node, const std::string& name, Strings* target) {
  if (!shape(node, yaml::Node::Kind::sequence, name, "a list of strings")) return;
  Strings out;
  for (const yaml::Node& item : node.items) {
    const std::string item_name = strf("%s[%zu]", name.c_str(), out.size());
    if (!string_of(item, item_name)) return;
    std::string wrong =
        item.scalar.empty() ? "must not be empty" : check_format(key.rule.format, item.scalar);
    if (!wrong.empty()) {
      problem(item, strf("%s %s", item_name.c_str(), wrong.c_str()));
      return;
    }
    out.push_back(item.scalar);
  }
  *target = std::move(out);
}

void Checker::map(const Key& key, const yaml::Node& node, StringMap* target) {
  if (!shape(node, yaml::Node::Kind::mapping, key.path, "a mapping of strings")) return;
  for (const auto& [name, member] : node.members) {
    if (std::string wrong = check_format(key.rule.key_format, name.scalar); !wrong.empty()) {
      problem(name, strf("%s: the key %s", key.path, wrong.c_str()));
      continue;
    }
    const std::string path = strf("%s[%s]", key.path, name.scalar.c_str());
    if (!string_of(member, path)) continue;
    if (std::string wrong = check_string(key, member.scalar); !wrong.empty()) {
      problem(member, strf("%s %s", path.c_str(), wrong.c_str()));
      continue;
    }
    (*target)[name.scalar] = member.scalar;
  }
}

void Checker::list_map(const Key& key, const yaml::Node& node, StringsMap* target) {
  if (!shape(node, yaml::Node::Kind::mapping, key.path, "a mapping of lists")) return;
  for (const auto& [name, member] : node.members) {
    if (std::string wrong = check_format(key.rule.key_format, name.scalar); !wrong.empty()) {
      problem(name, strf("%s: the key %s", key.path, wrong.c_str()));
      continue;
    }
    list(key, member, strf("%s[%s]", key.path, name.scalar.c_str()), &(*target)[name.scalar]);
  }
}

std::pair<int, int> Checker::place(const char* path) const {
  for (const auto& [seen, node] : seen_) {
    if (seen == path) return {node->line, node->column};
  }
  return {0, 0};
}

// What one key says of another. Only when each is good by itself.
void Checker::cross_check() {
  if (!out_.problems.empty()) return;
  const Config& c = out_.config;
  auto report = [&](const char* path, std::string message) {
    const auto [line, column] = place(path);
    problem(line, column, strf("%s %s", path, message.c_str()));
  };
  const auto pods = parse_cidr(c.network.pod_cidr), services = parse_cidr(c.network.service_cidr);
  const auto dns = parse_cidr(c.network.dns);
  if (pods->overlaps(*services)) report("network.serviceCIDR", "overlaps network.podCIDR");
  if (!services->contains(*dns)) report("network.dns", "is not within network.serviceCIDR");
  if (!c.node.pod_cidr.empty() && !pods->contains(*parse_cidr(c.node.pod_cidr))) {
    report("node.podCIDR", "is not within network.podCIDR");
  }
  if (c.images.gc_low_percent > c.images.gc_high_percent)
    report("images.gcLowPercent", "is above images.gcHighPercent");
  if (!c.backup.directory.empty() && c.backup.recipient_file.empty())
    report("backup.directory", "needs backup.recipientFile: scheduled backups are sealed for a recipient");
  if (c.run_dir == c.data_dir) report("runDir", "must not be dataDir");
  if (!c.join.url.empty() && !c.join.url.starts_with("https://"))
    report("join.url", "must begin with https://: a token is not sent in the clear");
  for (const auto& [path, value] :
       {std::pair{"join.token", &c.join.token}, std::pair{"join.tokenFile", &c.join.token_file}}) {
    if (!value->empty() && c.join.url.empty()) report(path, "needs join.url, where it was made");
  }
  if (!c.join.token.empty() && !c.join.token_file.empty())
    report("join.tokenFile", "stands beside join.token: one of the two");
}

void apply_defaults(Config& config) {
  for (const Key& key : config_keys()) {
    Target target = key.target(config);
    if (auto* flag = std::get_if<bool*>(&target)) **flag = std::string_view(key.default_text) == "true";
    if (auto* text = std::get_if<std::string*>(&target)) **text = key.default_text;
    if (auto* integer = std::get_if<int64_t*>(&target))
      **integer = read_number(key, key.default_text).value_or(0);
  }
}

}  // namespace

Checked check_config(std::string_view text) {
  Checked out;
  apply_defaults(out.config);
  Checker checker(out);
  auto documents = yaml::parse(text);
  if (!documents) {
    int line = 0, column = 0, used = 0;
    std::string_view message = documents.error().message;
    if (sscanf(documents.error().message.c_str(), "line %d, column %d: %n", &line, &column, &used) >= 2) {
      message.remove_prefix(static_cast<size_t>(used));
    }
    checker.problem(line, column, std::string(message));
    return out;
  }
  if (documents->empty() || documents->front().kind == yaml::Node::Kind::null) return out;
  const yaml::Node& root = documents->front();
  if (root.kind != yaml::Node::Kind::mapping) {
    checker.problem(root, strf("the file must hold a mapping of keys, not %s", kind_name(root.kind)));
    return out;
  }
  checker.mapping(root, "");
  checker.cross_check();
  return out;
}

Result<Config> load_config(const std::string& path) {
  TRY(const std::string text, read_file(path, max_file_bytes));
  Checked checked = check_config(text);
  if (checked.problems.empty()) return std::move(checked.config);
  std::string lines;
  for (const Problem& p : checked.problems) {
    if (!lines.empty()) lines += '\n';
    lines += p.line > 0 ? strf("%s:%d:%d: ", path.c_str(), p.line, p.column) : path + ": ";
    lines += p.message;
  }
  if (checked.more_problems > 0) lines += strf("\n%s: and %zu more", path.c_str(), checked.more_problems);
  return fail(Errc::invalid_argument, std::move(lines));
}

namespace {

bool same_value(const Target& a, const Target& b) {
  return std::visit([&](auto* value) { return *value == *std::get<decltype(value)>(b); }, a);
}

}  // namespace

Strings needs_restart(const Config& running, const Config& wanted) {
  Config a = running, b = wanted;
  Strings out;
  for (const Key& key : config_keys()) {
    if (!key.rule.reload && !same_value(key.target(a), key.target(b))) out.push_back(key.path);
  }
  return out;
}

Config reloaded(const Config& running, const Config& wanted) {
  Config out = running, from = wanted;
  for (const Key& key : config_keys()) {
    if (!key.rule.reload) continue;
    Target source = key.target(from);
    std::visit([&](auto* value) { *value = *std::get<decltype(value)>(source); }, key.target(out));
  }
  return out;
}

}  // namespace limpet::daemon
