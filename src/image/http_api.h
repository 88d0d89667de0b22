// The images of the device over the unix socket, for the limpet command.
//
//   GET    /limpet/v1/images {"images":[{"id","references","repoDigests","size","pinned",
//                                                  "inUse"}],"pulls":[...]}, see render_pulls
//   POST   /limpet/v1/images/pull?reference=NAME   a line of JSON per event, the last one the result
//   POST   /limpet/v1/images/import                body {"path":"/...","pinned":false}; likewise
//   DELETE /limpet/v1/images?reference=NAME        {"ok":true}
//
// Lines of a pull: {"layer":"sha256:...","phase":"downloading","done":N,"total":N}, then
// {"ok":true,"image":"sha256:...", "references":[...]} or {"ok":false,"code":"not_found","message":"..."}.
// Errors of the other calls have the same form, with the status that fits. Only root may change things. Owned
// by main, on the loop's thread; outlived by the ImageStore.
#pragma once

#include <list>
#include <memory>
#include <string_view>

#include "base/json.h"
#include "http/message.h"
#include "image/images.h"

namespace limpet::image {

// [{"reference","running","done","total","layersDone","layers"}]: pulls under way, or waiting for their turn.
void render_pulls(json::Writer& w, const ImageStore& store);

class HttpApi {
 public:
  HttpApi(loop::Loop& loop, ImageStore& store) : store_(store), sweeper_(loop, "image.api") {}
  HttpApi(const HttpApi&) = delete;
  static bool serves(std::string_view path);  // whether it is one of ours
  void handle(const http::ExchangePtr& exchange);

 private:
  struct Running;
  void list(const http::ExchangePtr& exchange);
  void pull(const http::ExchangePtr& exchange);
  void import(const http::ExchangePtr& exchange);
  void remove(const http::ExchangePtr& exchange);
  Running& begin(const http::ExchangePtr& exchange);
  void over(Running& running);

  ImageStore& store_;
  std::list<std::shared_ptr<Running>> running_;
  loop::Timer sweeper_;
};

}  // namespace limpet::image
