#include "daemon/node_wire.h"

#include <charconv>

#include "api/exec.h"
#include "api/log_options.h"
#include "base/json.h"
#include "client/client.h"

namespace limpet::daemon {
namespace {

constexpr size_t max_status_bytes = size_t{64} * 1024;

class Target {
 public:
  Target(const char* verb, const api::ContainerRef& c) : text_(std::string("/") + verb) {
    for (const std::string* part : {&c.ns, &c.pod, &c.uid, &c.container})
      text_ += "/" + http::percent_encode(*part);
  }
  void add(const char* name, std::string_view value) {
    text_ += (any_ ? "&" : "?") + std::string(name) + "=" + http::percent_encode(value);
    any_ = true;
  }
  void flag(const char* name, bool value) {
    if (value) add(name, "true");
  }
  void number(const char* name, const std::optional<int64_t>& value) {
    if (value) add(name, std::to_string(*value));
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  bool any_ = false;
};

// The code among the causes of a Status; -1 when there is none.
int exit_code(json::Ref status) {
  for (json::Ref cause : status["details"]["causes"]) {
    if (cause["reason"].str() != "ExitCode") continue;
    const std::string_view text = cause["message"].str();
    int code = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
    if (error == std::errc() && end == text.data() + text.size() && code > 0) return code;
  }
  return -1;
}

}  // namespace

std::string node_target(const api::ContainerRef& container, const api::LogOptions& o) {
  Target t("containerLogs", container);
  t.flag("follow", o.follow);
  t.flag("previous", o.previous);
  t.flag("timestamps", o.timestamps);
  t.number("tailLines", o.tail_lines);
  t.number("limitBytes", o.limit_bytes);
  // The API lets through one of the two.
  if (o.since_time) {
    t.add("sinceTime", rfc3339(*o.since_time));
  } else {
    t.number("sinceSeconds", o.since_seconds);
  }
  if (!o.stream.empty()) t.add("stream", o.stream);
  return t.take();
}

std::string node_target(const api::ContainerRef& container, const api::ExecRequest& r) {
  Target t(r.command.empty() ? "attach" : "exec", container);
  t.flag("stdin", r.in);
  t.flag("stdout", r.out);
  t.flag("stderr", r.err);
  t.flag("tty", r.tty);
  for (const std::string& arg : r.command) t.add("command", arg);
  return t.take();
}

api::Outcome<NodeCall> read_node_call(std::string_view path, const http::Query& query) {
  std::string parts[5];
  size_t n = 0;
  for (std::string_view rest = path; rest.starts_with('/'); ++n) {
    rest.remove_prefix(1);
    const size_t end = std::min(rest.find('/'), rest.size());
    if (n == std::size(parts)) return std::unexpected(api::status::no_such_path());
    parts[n] = rest.substr(0, end);
    rest.remove_prefix(end);
  }
  if (n != std::size(parts)) return std::unexpected(api::status::no_such_path());
  NodeCall call;
  call.container = {parts[1], parts[2], parts[3], "", parts[4]};
  if (parts[0] == "containerLogs") {
    api::Outcome<api::LogOptions> o = api::read_log_options(query);
    if (!o) return std::unexpected(std::move(o).error());
    call.log = std::move(*o);
    return call;
  }
  if (parts[0] != "exec" && parts[0] != "attach") return std::unexpected(api::status::no_such_path());
  call.verb = parts[0] == "exec" ? NodeCall::Verb::exec : NodeCall::Verb::attach;
  api::Outcome<api::ExecRequest> r = api::read_exec_request(query, call.verb == NodeCall::Verb::attach);
  if (!r) return std::unexpected(std::move(r).error());
  call.exec = std::move(*r);
  return call;
}

std::string exec_end(const Result<int>& exit) {
  return exit ? api::exec_status(exit) : api::status::from_device(exit.error()).json();
}

Result<int> read_exec_end(std::string_view status) {
  if (status.size() > max_status_bytes) return fail(Errc::too_large, "the status of a command is too long");
  const auto parsed = json::parse(status);
  if (!parsed)
    return fail(Errc::corrupt, "the status of a command cannot be read: " + parsed.error().message);
  const json::Ref s = parsed->ref();
  if (s["status"].str() == "Success") return 0;
  if (const int code = exit_code(s); code > 0) return code;
  const int64_t code = s["code"].integer();
  const bool known = code >= 400 && code < 600;
  return std::unexpected(client::Reply{known ? static_cast<int>(code) : 500, std::string(status)}.error());
}

}  // namespace limpet::daemon
