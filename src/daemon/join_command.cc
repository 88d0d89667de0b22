#include "daemon/join_command.h"

#include <utility>

#include "base/json.h"
#include "daemon/join_service.h"
#include "daemon/local_api.h"
#include "daemon/names.h"

namespace limpet::daemon {

bool JoinCommand::check(const http::ExchangePtr& e) {
  if (e->request().method == "POST" && json::validate(e->request().body)) return true;
  e->respond(local_failure(400, "BadRequest", "joining is a POST of JSON"));
  return false;
}

void JoinCommand::run(http::ExchangePtr e) {
  if (joiner_) return e->respond(local_failure(409, "Conflict", "this device is joining already"));
  const Config& c = device_.config;
  const json::Cursor body(e->request().body);
  JoinOptions o;
  o.data_dir = c.data_dir;
  o.node_name = device_.node_name;
  o.addresses = peers_addresses(c);
  o.api_port = static_cast<int>(c.listen.api_port);
  const std::string role = body["role"].str();
  o.order = {body["url"].str(), body["token"].str(), (role.empty() ? c.role : role) == "agent"};
  const std::string url = o.order.url;
  joiner_ = Joiner::start(device_.loop, device_.clock, std::move(o), [this, e, url](Result<Place> place) {
    const auto ended = std::move(joiner_);
    if (!place) return e->respond(refusal_of(place.error()));
    json::Writer w;
    w.begin_object().field("message", strf("%s lets this device in; it becomes %s of that cluster now",
                                           url.c_str(), place->agent ? "an agent" : "a server"));
    w.end_object();
    e->respond(local_json(w.take()));
    device_.restart("it joins a cluster");
  });
}

}  // namespace limpet::daemon
