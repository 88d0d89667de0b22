#include "cli/doctor/registry.h"

#include <arpa/inet.h>

#include "base/atomic_file.h"
#include "cli/programs.h"
#include "daemon/registries.h"
#include "image/reference.h"

namespace limpet::cli::doctor {
namespace {

constexpr int64_t program_ms = 3000;

bool is_address(const std::string& host) {
  unsigned char raw[16];
  return inet_pton(AF_INET, host.c_str(), raw) == 1 || inet_pton(AF_INET6, host.c_str(), raw) == 1;
}

}  // namespace

struct RegistryAsker::Question {
  size_t registry = 0, way = 0;
  image::SessionPtr session;
  std::unique_ptr<http::Call> call;
  bool done = false, certificate = false;
  std::string problem;

  void end(std::string why) {
    if (done) return;
    done = true;
    problem = std::move(why);
  }
};

RegistryAsker::RegistryAsker(loop::Loop& loop, Clock& clock, const daemon::Config& config)
    : loop_(loop), config_(config), engine_(loop, clock), transport_(loop, clock, &engine_) {
  image::TransportOptions o = daemon::registry_options(config);
  if (!config.registries.ca_file.empty()) {
    auto text = read_file(config.registries.ca_file, daemon::max_ca_file_bytes);
    if (!text) problem_ = text.error().message;
    if (text) o.ca_pem = std::move(*text);
  }
  if (!problem_.empty()) return;
  if (const auto taken = transport_.configure(std::move(o)); !taken) problem_ = taken.error().message;
}

std::string RegistryAsker::proxy_for(const http::Origin& origin) const {
  if (image::reached_directly(config_.proxy.no_proxy, origin.host)) return "";
  std::string proxy = origin.tls ? config_.proxy.https : config_.proxy.http;
  // Without the password that may be in it.
  return proxy.empty() ? proxy : registry_of_url(std::move(proxy));
}

// By a program that can be given up: the C library's own look-up cannot, and would hold the end of this one.
std::string RegistryAsker::name_problem(const http::Origin& origin) {
  const std::string proxy = proxy_for(origin);
  std::string host = origin.host;
  if (!proxy.empty()) {
    const auto url = http::parse_url("http://" + proxy);
    if (!url) return "";
    host = url->origin.host;
  }
  if (is_address(host)) return "";
  if (const auto known = names_.find(host); known != names_.end()) return known->second;
  std::string& out = names_[host];
  if (resolver_silent_) return out = "no name server answers";
  const ProgramResult found = run_program(loop_, {"getent", "ahosts", host}, program_ms);
  if (!found.started || found.ok) return "";
  resolver_silent_ = found.out.find("did not end in time") != std::string::npos;
  return out = resolver_silent_ ? "no name server answers" : "the name " + host + " is not known";
}

void RegistryAsker::send(Question& q) {
  http::ClientRequest request;
  request.origin = q.session->origin;
  request.origin.reach = transport_.reach(*q.session, request.origin);
  request.target = q.session->prefix + "/v2/";
  http::CallEvents events;
  events.on_response = [&q](const http::MessageHead& head) {
    const bool answers = head.status == 200 || head.status == 401;
    q.end(answers ? "" : strf("it answers with status %d, as no registry does", head.status));
  };
  events.on_end = [&q](Result<> r) {
    // Of the peer's own certificate; a proxy that wants a password is another matter.
    q.certificate = !q.done && !r && r.error().message.find("certificate of ") != std::string::npos;
    q.end(r ? "it said nothing" : r.error().message);
  };
  q.call = transport_.client_for(request.origin).send(std::move(request), std::move(events));
}

std::vector<Ways> RegistryAsker::ask(const std::vector<std::string>& registries, int64_t patience_ms) {
  std::vector<Ways> out(registries.size());
  std::vector<std::unique_ptr<Question>> questions;
  for (size_t i = 0; i < registries.size(); i++) {
    image::Reference image{registries[i], "library/any", "latest", ""};
    bool primary_seen = false;
    for (const image::SessionPtr& session : transport_.sessions(image, {})) {
      // An insecure registry is tried with https and http: one of them is enough.
      if (!session->primary || !primary_seen) {
        const std::string proxy = proxy_for(session->origin);
        out[i].push_back({session->origin.authority() + (proxy.empty() ? "" : " over the proxy " + proxy),
                          problem_, false});
      }
      primary_seen = session->primary;
      if (!problem_.empty()) continue;
      auto q = std::make_unique<Question>();
      q->registry = i;
      q->way = out[i].size() - 1;
      q->session = session;
      if (std::string why = name_problem(session->origin); !why.empty()) q->end(std::move(why));
      questions.push_back(std::move(q));
    }
  }
  for (const auto& q : questions) {
    if (!q->done) send(*q);
  }
  (void)loop_.run_until(
      [&] {
        for (const auto& q : questions) {
          if (!q->done) return false;
        }
        return true;
      },
      patience_ms);
  for (size_t i = 0; i < questions.size(); i++) {
    Question& q = *questions[i];
    q.end("no answer in time");
    Way& way = out[q.registry][q.way];
    const bool again = i > 0 && questions[i - 1]->registry == q.registry && questions[i - 1]->way == q.way;
    if (again && way.problem.empty()) continue;
    if (again && !q.problem.empty()) continue;  // what was said of https tells more
    way.problem = q.problem;
    way.certificate = q.certificate;
  }
  return out;
}

std::string registry_of_image(std::string_view image) {
  const auto reference = image::parse_reference(image);
  return reference ? reference->domain : "";
}

std::string registry_of_url(std::string text) {
  if (const size_t scheme = text.find("://"); scheme != std::string::npos) text.erase(0, scheme + 3);
  text = text.substr(0, text.find('/'));
  if (const size_t at = text.rfind('@'); at != std::string::npos) text.erase(0, at + 1);
  return text;
}

}  // namespace limpet::cli::doctor
