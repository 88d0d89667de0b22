// exec and attach: the request, and what both of its carriers share.
#include "api/exec.h"

#include "api/pod_target.h"
#include "api/subresources.h"
#include "base/json.h"

namespace limpet::api {
namespace {

std::vector<std::string_view> offered(const http::Headers& headers, std::string_view header) {
  std::vector<std::string_view> out;
  for (std::string_view line : headers.all(header)) {
    while (!line.empty()) {
      size_t comma = line.find(',');
      std::string_view item = line.substr(0, comma);
      while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
      while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
      out.push_back(item);
      line.remove_prefix(comma == std::string_view::npos ? line.size() : comma + 1);
    }
  }
  return out;
}

}  // namespace

Outcome<ExecRequest> read_exec_request(const http::Query& q, bool attach) {
  ExecRequest r;
  r.in = truthy(q, "stdin");
  r.out = truthy(q, "stdout");
  r.tty = truthy(q, "tty");
  r.err = truthy(q, "stderr") && !r.tty;
  if (!r.in && !r.out && !r.err) {
    return std::unexpected(status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
  }
  if (attach) return r;
  for (std::string_view arg : q.all("command")) r.command.emplace_back(arg);
  if (r.command.empty()) return std::unexpected(status::bad_request("you must specify at least 1 command"));
  return r;
}

std::string_view choose_protocol(const http::Headers& headers, std::string_view header,
                                 const std::string_view* ours, size_t count, Prefer order) {
  size_t best = count;
  for (std::string_view wanted : offered(headers, header)) {
    for (size_t i = 0; i < best; ++i) {
      if (ours[i] != wanted) continue;
      if (order == Prefer::client) return ours[i];
      best = i;
    }
  }
  return best < count ? ours[best] : std::string_view();
}

std::string exec_status(const Result<int>& exit) {
  if (exit && *exit == 0) {
    json::Writer w;
    w.begin_object().key("metadata").begin_object().end_object().field("status", "Success").end_object();
    return w.take();
  }
  if (exit) {
    json::Writer w;
    w.begin_object().key("metadata").begin_object().end_object().field("status", "Failure");
    w.field("message", exec_message(exit));
    w.field("reason", "NonZeroExitCode").key("details").begin_object().key("causes").begin_array();
    w.begin_object().field("reason", "ExitCode").field("message", std::to_string(*exit)).end_object();
    w.end_array().end_object().end_object();
    return w.take();
  }
  Status s = status::internal(exit.error().message);
  s.message = exit.error().message;
  return s.json();
}

std::string exec_message(const Result<int>& exit) {
  if (!exit) return exit.error().message;
  if (*exit == 0) return {};
  return "command terminated with non-zero exit code: exit status " + std::to_string(*exit);
}

void resize_terminal(ExecSession& session, std::string_view text) {
  Result<json::Value> v = json::parse(text);
  if (!v) return;
  int64_t w = v->ref()["Width"].integer(), h = v->ref()["Height"].integer();
  if (w > 0 && h > 0 && w < 65536 && h < 65536) session.resize(static_cast<int>(w), static_cast<int>(h));
}

void pod_exec(CallPtr call) {
  Outcome<ExecRequest> request = read_exec_request(call->query(), call->info.subresource == "attach");
  if (!request) return call->fail(request.error());
  find_container(call, [call, request = std::move(*request)](Outcome<ContainerRef> c) mutable {
    if (!c) return call->fail(c.error());
    if (call->answered()) return;
    if (wants_spdy(call->request().headers)) return exec_over_spdy(call, *c, std::move(request));
    exec_over_websocket(call, *c, std::move(request));
  });
}

}  // namespace limpet::api
