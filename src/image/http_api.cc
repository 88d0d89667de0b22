#include "image/http_api.h"

#include "base/json.h"

namespace limpet::image {
namespace {

constexpr size_t max_running = 16;
constexpr size_t max_queue = 256 * 1024;  // progress is left out while the client does not read

constexpr std::string_view root_path = "/limpet/v1/images";

int status_of(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return 400;
    case Errc::not_found:
      return 404;
    case Errc::conflict:
      return 409;
    case Errc::permission_denied:
      return 403;
    case Errc::exhausted:
      return 429;
    default:
      return 500;
  }
}

std::string error_text(const Error& e) {
  json::Writer w;
  w.begin_object()
      .field("ok", false)
      .field("code", errc_name(e.code))
      .field("message", e.message)
      .end_object();
  return w.take() + "\n";
}

void respond(const http::ExchangePtr& exchange, int status, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  exchange->respond(std::move(response));
}

void strings(json::Writer& w, std::string_view key, const std::vector<std::string>& list) {
  w.key(key).begin_array();
  for (const std::string& s : list) w.string(s);
  w.end_array();
}

std::string progress_line(const LayerProgress& p) {
  static constexpr const char* phases[] = {"waiting", "downloading", "unpacking", "complete"};
  json::Writer w;
  w.begin_object().field("layer", p.digest).field("phase", phases[static_cast<int>(p.phase)]);
  w.field("done", static_cast<int64_t>(p.done)).field("total", static_cast<int64_t>(p.total)).end_object();
  return w.take() + "\n";
}

}  // namespace

void render_pulls(json::Writer& w, const ImageStore& store) {
  w.begin_array();
  for (const PullStatus& p : store.pulls()) {
    w.begin_object().field("reference", p.reference).field("running", p.running);
    w.field("done", static_cast<int64_t>(p.done)).field("total", static_cast<int64_t>(p.total));
    w.field("layersDone", static_cast<int64_t>(p.layers_done));
    w.field("layers", static_cast<int64_t>(p.layers)).end_object();
  }
  w.end_array();
}

// A call that takes its time. It is given up when the client goes.
struct HttpApi::Running {
  http::ExchangePtr exchange;
  std::unique_ptr<Operation> operation;
  bool over = false;
};

bool HttpApi::serves(std::string_view path) {
  return path.starts_with(root_path) && (path.size() == root_path.size() || path[root_path.size()] == '/');
}

void HttpApi::handle(const http::ExchangePtr& exchange) {
  const http::Request& r = exchange->request();
  const std::string_view rest = std::string_view(r.path).substr(root_path.size());
  if (r.method == "GET" && rest.empty()) return list(exchange);
  const bool known = (r.method == "DELETE" && rest.empty()) ||
                     (r.method == "POST" && (rest == "/pull" || rest == "/import"));
  if (!known)
    return respond(exchange, 404,
                   error_text({Errc::not_found, "no such call: " + r.method + " " + r.path, 0}));
  if (r.peer.kind != http::Peer::Kind::unix_socket || r.peer.uid != 0) {
    return respond(exchange, 403, error_text({Errc::permission_denied, "only root may change images", 0}));
  }
  if (running_.size() >= max_running) {
    return respond(exchange, 429,
                   error_text({Errc::exhausted, "too many image operations are under way", 0}));
  }
  if (r.method == "DELETE") return remove(exchange);
  if (rest == "/pull") return pull(exchange);
  import(exchange);
}

void HttpApi::list(const http::ExchangePtr& exchange) {
  json::Writer w;
  w.begin_object().key("images").begin_array();
  for (const ImageInfo& image : store_.list()) {
    w.begin_object().field("id", image.id);
    strings(w, "references", image.references);
    strings(w, "repoDigests", image.repo_digests);
    w.field("size", static_cast<int64_t>(image.size))
        .field("pinned", image.pinned)
        .field("inUse", image.in_use);
    w.end_object();
  }
  w.end_array().key("pulls");
  render_pulls(w, store_);
  w.end_object();
  respond(exchange, 200, w.take() + "\n");
}

HttpApi::Running& HttpApi::begin(const http::ExchangePtr& exchange) {
  running_.push_back(std::make_shared<Running>());
  Running& running = *running_.back();
  running.exchange = exchange;
  exchange->on_gone([this, weak = std::weak_ptr<Running>(running_.back())] {
    if (const auto still = weak.lock()) over(*still);
  });
  return running;
}

// The operation is destroyed later: this may be one of its callbacks.
void HttpApi::over(Running& running) {
  running.over = true;
  sweeper_.start(0, [this] { running_.remove_if([](const auto& r) { return r->over; }); });
}

void HttpApi::pull(const http::ExchangePtr& exchange) {
  const std::string reference(exchange->request().query.get("reference"));
  if (auto parsed = parse_reference(reference); !parsed)
    return respond(exchange, 400, error_text(parsed.error()));
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  exchange->begin(200, std::move(headers));
  Running& running = begin(exchange);
  PullOptions options{reference,
                      {},
                      [exchange](const LayerProgress& p) {
                        if (exchange->write_queue_size() < max_queue) exchange->write(progress_line(p));
                      },
                      Check::contents};  // whoever asks by hand wants it whole
  running.operation = store_.pull(std::move(options), [this, &running, reference](Result<ImageRoot> root) {
    if (!root) {
      running.exchange->write(error_text(root.error()));
    } else {
      json::Writer w;
      w.begin_object().field("ok", true).field("image", root->image_id);
      strings(w, "references", {parse_reference(reference)->text()});
      w.end_object();
      running.exchange->write(w.take() + "\n");
    }
    running.exchange->end();
    over(running);
  });
}

void HttpApi::import(const http::ExchangePtr& exchange) {
  auto body = json::parse(exchange->request().body);
  const std::string path(body ? body->ref()["path"].str() : "");
  if (!path.starts_with('/')) {
    return respond(exchange, 400,
                   error_text({Errc::invalid_argument, "the body must name an absolute path", 0}));
  }
  Running& running = begin(exchange);
  running.operation = store_.import(
      path, body->ref()["pinned"].boolean(), [this, &running](Result<std::vector<std::string>> names) {
        if (!names) {
          respond(running.exchange, status_of(names.error().code), error_text(names.error()));
        } else {
          json::Writer w;
          w.begin_object().field("ok", true);
          strings(w, "references", *names);
          w.end_object();
          respond(running.exchange, 200, w.take() + "\n");
        }
        over(running);
      });
}

void HttpApi::remove(const http::ExchangePtr& exchange) {
  Running& running = begin(exchange);
  running.operation = store_.remove(
      std::string(exchange->request().query.get("reference")), [this, &running](Result<> result) {
        if (!result) {
          respond(running.exchange, status_of(result.error().code), error_text(result.error()));
        } else {
          respond(running.exchange, 200, "{\"ok\":true}\n");
        }
        over(running);
      });
}

}  // namespace limpet::image
