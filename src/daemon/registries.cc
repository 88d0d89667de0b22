#include "daemon/registries.h"

namespace limpet::daemon {

image::TransportOptions registry_options(const Config& config) {
  image::TransportOptions o;
  for (const auto& [registry, urls] : config.registries.mirrors) o.mirrors[registry] = urls;
  o.insecure = config.registries.insecure;
  o.http_proxy = config.proxy.http;
  o.https_proxy = config.proxy.https;
  o.no_proxy = config.proxy.no_proxy;
  return o;
}

}  // namespace limpet::daemon
