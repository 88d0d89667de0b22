#include "cli/connection.h"

#include <unistd.h>

#include <cerrno>

#include "base/atomic_file.h"
#include "base/yaml.h"
#include "cli/format.h"

namespace limpet::cli {
namespace {

constexpr size_t max_answer = 64u << 20;
constexpr size_t max_refusal = 64u << 10;
constexpr size_t max_config = 1u << 20;
constexpr int64_t connect_timeout_ms = 3'000;
constexpr int64_t for_ever_ms = int64_t{1} << 45;

http::ClientOptions client_options(int64_t answer_ms) {
  http::ClientOptions options;
  options.connect_timeout_ms = connect_timeout_ms;
  options.first_byte_timeout_ms = answer_ms;
  options.idle_timeout_ms = answer_ms;
  return options;
}

bool good(int status) { return status >= 200 && status < 300; }

}  // namespace

Connection::Connection(loop::Loop& loop, std::string socket_path, int64_t answer_ms)
    : loop_(loop), path_(std::move(socket_path)), client_(loop, dialer_, client_options(answer_ms)) {}

http::ClientRequest Connection::request(const std::string& method, const std::string& target,
                                        std::string body) const {
  http::ClientRequest r;
  r.origin.unix_path = path_;
  r.method = method;
  r.target = target;
  r.body = std::move(body);
  if (!r.body.empty()) r.headers.set("Content-Type", "application/json");
  r.headers.set("Accept", "application/json, */*");
  return r;
}

Outcome<std::string> Connection::ask(const std::string& method, const std::string& target, std::string body) {
  Result<http::Response> answer = fail(Errc::timeout, "no answer");
  bool done = false;
  const auto call =
      client_.fetch(request(method, target, std::move(body)), max_answer, [&](Result<http::Response> r) {
        answer = std::move(r);
        done = true;
      });
  (void)loop_.run_until([&] { return done; }, for_ever_ms);
  if (!answer) return std::unexpected(broken(answer.error()));
  if (!good(answer->status)) return std::unexpected(refused(answer->status, answer->body));
  return std::move(answer->body);
}

Outcome<json::Value> Connection::get(const std::string& target) {
  auto body = ask("GET", target);
  if (!body) return std::unexpected(body.error());
  auto value = json::parse(*body);
  if (!value) {
    return failed(exit_failed, strf("what answers on %s does not speak as limpetd does: %s", path_.c_str(),
                                    value.error().message.c_str()));
  }
  return std::move(*value);
}

Outcome<> Connection::stream(const std::string& method, const std::string& target, std::string body,
                             OnData on_data) {
  Result<> ended;
  int status = 0;
  std::string refusal;
  bool done = false, enough = false;
  http::CallEvents events;
  events.on_response = [&](const http::MessageHead& head) { status = head.status; };
  events.on_body = [&](std::string_view bytes) {
    if (done) return;
    if (!good(status)) {
      refusal.append(bytes.substr(0, max_refusal - std::min(refusal.size(), max_refusal)));
    } else if (!on_data(bytes)) {
      done = enough = true;
    }
  };
  events.on_end = [&](Result<> r) {
    ended = std::move(r);
    done = true;
  };
  auto r = request(method, target, std::move(body));
  r.first_byte_timeout_ms = 0;
  r.idle_timeout_ms = 0;
  const auto call = client_.send(std::move(r), std::move(events));
  (void)loop_.run_until([&] { return done; }, for_ever_ms);
  if (enough) return {};
  if (!ended) return std::unexpected(broken(ended.error()));
  if (!good(status)) return std::unexpected(refused(status, refusal));
  return {};
}

Outcome<std::unique_ptr<http::WebSocket>> Connection::websocket(const std::string& target,
                                                                const std::string& subprotocol,
                                                                http::WebSocket::Events events) {
  Result<std::unique_ptr<http::WebSocket>> socket = fail(Errc::timeout, "no answer");
  http::Response refusal;
  bool done = false;
  const auto call = client_.websocket(
      request("GET", target, ""), subprotocol,
      [&](Result<std::unique_ptr<http::WebSocket>> s) {
        socket = std::move(s);
        if (socket) (*socket)->set_events(std::move(events));
        done = true;
      },
      [&](http::Response r) { refusal = std::move(r); });
  (void)loop_.run_until([&] { return done; }, for_ever_ms);
  if (!socket && refusal.status >= 400) return std::unexpected(refused(refusal.status, refusal.body));
  if (!socket) return std::unexpected(broken(socket.error()));
  if ((*socket)->subprotocol() != subprotocol) {
    return failed(exit_failed, strf("limpetd on %s does not offer %s: it may be of another version",
                                    path_.c_str(), subprotocol.c_str()));
  }
  return std::move(*socket);
}

Failure Connection::refused(int status, std::string_view body) const {
  std::string message;
  if (const auto value = json::parse(body)) message = printable(value->ref()["message"].str());
  if (message.empty()) message = strf("limpetd on %s answers with HTTP status %d", path_.c_str(), status);
  if (status == 404) return {exit_not_found, std::move(message)};
  return {exit_failed, std::move(message)};
}

// Where systemd does not run there is nobody to ask but the device itself.
static bool has_systemd() { return access("/run/systemd/system", F_OK) == 0; }

Failure Connection::broken(const Error& error) const {
  const char* path = path_.c_str();
  switch (error.sys_errno) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
      return {exit_unreachable, strf("limpetd does not answer on %s: is it running?\ntry: %s", path,
                                     has_systemd() ? "systemctl status limpetd" : "limpet doctor")};
    case EACCES:
    case EPERM:
      return {exit_failed,
              strf("no permission to use %s: run this as root or as a member of the group limpet", path)};
    default:
      break;
  }
  switch (error.code) {
    case Errc::timeout:
      return {exit_unreachable,
              strf("limpetd does not answer on %s in time: it is stuck or overloaded\ntry: %s", path,
                   has_systemd() ? "journalctl -u limpetd" : "limpet doctor")};
    case Errc::unavailable:
    case Errc::io:
      return {exit_unreachable,
              strf("the connection to limpetd on %s broke (%s): it may be restarting; try again", path,
                   error.message.c_str())};
    case Errc::corrupt:
    case Errc::too_large:
      return {exit_failed,
              strf("what answers on %s does not speak as limpetd does: %s", path, error.message.c_str())};
    default:
      return {exit_unreachable, strf("limpetd on %s cannot be asked: %s", path, error.message.c_str())};
  }
}

Outcome<std::string> find_socket(const std::string& socket_option, const std::string& config_path,
                                 bool config_given) {
  if (!socket_option.empty()) return socket_option;
  std::string socket, run_dir = "/run/limpet";
  const auto text = read_file(config_path, max_config);
  if (!text) {
    if (config_given) return failed(exit_failed, "the configuration cannot be read: " + text.error().message);
  } else if (const auto documents = yaml::parse(*text); !documents) {
    if (config_given) return failed(exit_failed, config_path + ": " + documents.error().message);
  } else if (!documents->empty()) {
    const json::Value config = yaml::to_json(documents->front());
    socket = config.ref()["listen"]["socket"].str();
    run_dir = config.ref()["runDir"].str(run_dir);
  }
  return socket.empty() ? run_dir + "/limpet.sock" : socket;
}

}  // namespace limpet::cli
