// A registry in this process with every bad habit on request, and images made on the spot.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/sha256.h"
#include "http/server.h"
#include "image/manifest.h"
#include "tls/tls.h"

namespace limpet::image {

inline std::string digest_of(std::string_view bytes) { return "sha256:" + sha256_hex(bytes); }

struct FakeRegistry {
  explicit FakeRegistry(loop::Loop& loop) : server(loop, {}, [this](http::ExchangePtr e) { handle(e); }) {
    auto made = loop::Listener::tcp(loop, "127.0.0.1", 0,
                                    [this](auto stream) { server.serve(std::move(stream), {}); });
    listener = std::move(*made);
  }
  // Over TLS, as the host given. The context outlives it.
  FakeRegistry(loop::Loop& loop, tls::ServerContext& context, std::string name)
      : server(loop, {}, [this](http::ExchangePtr e) { handle(e); }),
        scheme("https://"),
        host(std::move(name)) {
    auto made = loop::Listener::tcp(loop, "127.0.0.1", 0, [this, &context](auto stream) {
      handshakes.push_back(tls::wrap_server(context, std::move(stream), [this](auto secured) {
        if (secured) server.serve(std::move(*secured), {});
      }));
    });
    listener = std::move(*made);
  }
  std::string authority() const { return host + ":" + std::to_string(listener->port()); }
  std::string url() const { return scheme + authority(); }

  // Puts an image of these layers (plain tars) under the name; returns its manifest's digest.
  std::string add(const std::string& name, const std::string& tag, const std::vector<std::string>& layers,
                  const std::string& architecture = host_platform().architecture, bool in_index = false) {
    json::Writer config, manifest;
    config.begin_object().field("os", "linux").field("architecture", architecture);
    config.key("rootfs").begin_object().field("type", "layers").key("diff_ids").begin_array();
    for (const std::string& layer : layers) config.string(digest_of(layer));
    config.end_array().end_object().end_object();
    const std::string text = config.take();
    blobs[digest_of(text)] = text;
    manifest.begin_object().field("schemaVersion", 2);
    manifest.field("mediaType", "application/vnd.oci.image.manifest.v1+json");
    const auto descriptor = [&](const std::string& bytes, const char* type) {
      manifest.begin_object().field("mediaType", type).field("digest", digest_of(bytes));
      manifest.field("size", static_cast<int64_t>(bytes.size())).end_object();
      blobs[digest_of(bytes)] = bytes;
    };
    manifest.key("config");
    descriptor(text, "application/vnd.oci.image.config.v1+json");
    manifest.key("layers").begin_array();
    for (const std::string& layer : layers) descriptor(layer, "application/vnd.oci.image.layer.v1.tar");
    manifest.end_array().end_object();
    std::string bytes = manifest.take();
    std::string digest = digest_of(bytes);
    manifests[name + "/" + digest] = bytes;
    if (in_index) {
      json::Writer index;
      index.begin_object()
          .field("schemaVersion", 2)
          .field("mediaType", "application/vnd.oci.image.index.v1+json");
      index.key("manifests").begin_array();
      for (const char* arch : {"other", architecture.c_str()}) {
        index.begin_object().field("digest", digest).field("size", static_cast<int64_t>(bytes.size()));
        index.key("platform")
            .begin_object()
            .field("os", "linux")
            .field("architecture", arch)
            .end_object()
            .end_object();
      }
      index.end_array().end_object();
      bytes = index.take();
      digest = digest_of(bytes);
      manifests[name + "/" + digest] = bytes;
    }
    manifests[name + "/" + tag] = bytes;
    return digest;
  }

  void handle(const http::ExchangePtr& e) {
    if (dead) return e->abort();
    const http::Request& r = e->request();
    log.push_back(r.method + " " + r.path);
    if (const std::string_view sent = r.headers.get("Authorization"); !sent.empty())
      credentials.emplace_back(sent);
    if (r.path == "/token") return token(e);
    if (busy > 0) {
      --busy;
      return answer(e, 503, "busy", {{"Retry-After", "0"}});
    }
    if (!bearer.empty() && r.headers.get("Authorization") != "Bearer " + bearer) {
      return answer(e, 401, R"({"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]})",
                    {{"WWW-Authenticate", "Bearer realm=\"" + (realm.empty() ? url() : realm) +
                                              "/token\",service=\"fake\",scope=\"x\""}});
    }
    if (!basic.empty() && r.headers.get("Authorization") != "Basic " + basic) {
      return answer(e, 401, "", {{"WWW-Authenticate", "Basic realm=\"fake\""}});
    }
    const size_t at = r.path.rfind('/'), kind = r.path.rfind('/', at - 1);
    const std::string name = r.path.substr(4, kind - 4), what = r.path.substr(kind + 1, at - kind - 1),
                      last = r.path.substr(at + 1);
    if (what == "manifests") {
      const auto it = manifests.find(name + "/" + last);
      return it == manifests.end() ? answer(e, 404, R"({"errors":[{"code":"MANIFEST_UNKNOWN"}]})")
                                   : answer(e, 200, it->second);
    }
    blob(e, last);
  }

  void token(const http::ExchangePtr& e) {
    if (!token_basic.empty() && e->request().headers.get("Authorization") != "Basic " + token_basic) {
      return answer(e, 401, "{}");
    }
    scope = e->request().query.get("scope");
    answer(e, 200, R"({"token":")" + bearer + R"(","expires_in":300})");
  }

  void blob(const http::ExchangePtr& e, const std::string& digest) {
    const auto it = blobs.find(digest);
    if (it == blobs.end()) return answer(e, 404, "");
    if (digest == held) {
      waiting = e;
      return;
    }
    if (!redirect_to.empty()) return answer(e, 307, "", {{"Location", redirect_to + e->request().path}});
    std::string bytes = corrupt.contains(digest) ? std::string(it->second.size(), '?') : it->second;
    size_t from = 0;
    const std::string range(e->request().headers.get("Range"));
    if (range.starts_with("bytes=") && ranges) from = std::stoul(range.substr(6));
    if (from > 0 && refused_ranges > 0) {
      --refused_ranges;
      return answer(e, 416, "");
    }
    if (from > 0) ++resumed;
    http::Headers partial;
    if (from > 0) {
      from -= std::min<size_t>(from, shifted);
      partial.add("Content-Range", strf("bytes %zu-%zu/%zu", from, bytes.size() - 1, bytes.size()));
    }
    if (stall_after > 0 && bytes.size() - from > stall_after) {
      partial.add("Content-Length", std::to_string(bytes.size() - from));
      e->begin(from > 0 ? 206 : 200, std::move(partial));
      e->write(std::string_view(bytes).substr(from, stall_after));
      served += stall_after;
      waiting = e;
      return;
    }
    if (cut_after > 0 && bytes.size() - from > cut_after && cuts > 0) {
      --cuts;
      partial.add("Content-Length", std::to_string(bytes.size() - from));
      e->begin(from > 0 ? 206 : 200, std::move(partial));
      e->write(std::string_view(bytes).substr(from, cut_after));
      served += cut_after;
      e->abort();
      return;
    }
    served += bytes.size() - from;
    std::vector<http::Header> headers;
    if (from > 0) headers.push_back({"Content-Range", std::string(partial.get("Content-Range"))});
    answer(e, from > 0 ? 206 : 200, bytes.substr(from), std::move(headers));
  }

  // Answers who asked for the blob that is held.
  void release() {
    held.clear();
    handle(std::exchange(waiting, nullptr));
  }

  static void answer(const http::ExchangePtr& e, int status, std::string body,
                     std::vector<http::Header> headers = {}) {
    http::Response response;
    response.status = status;
    response.body = std::move(body);
    for (http::Header& h : headers) response.headers.add(h.name, h.value);
    e->respond(std::move(response));
  }

  http::Server server;
  std::string scheme = "http://", host = "127.0.0.1";
  std::vector<std::unique_ptr<tls::Handshake>> handshakes;
  std::unique_ptr<loop::Listener> listener;
  std::map<std::string, std::string> manifests, blobs;
  std::set<std::string> corrupt;
  std::string realm;  // where tokens are given, when not here
  std::string bearer, basic, token_basic, redirect_to, scope;
  std::string held;  // digest of a blob that is not answered until release()
  http::ExchangePtr waiting;
  size_t cut_after = 0;
  size_t stall_after = 0;  // bytes of a blob, then silence
  size_t shifted = 0;      // answers to ranges begin so much too early
  int refused_ranges = 0;  // answered with 416
  uint64_t served = 0;     // bytes of blobs
  int cuts = 0, busy = 0, resumed = 0;
  bool ranges = true;
  bool dead = false;  // cuts every connection
  std::vector<std::string> log, credentials;
};

}  // namespace limpet::image
