#include "tls/context.h"

#include "base/failpoint.h"

namespace limpet::tls {

ServerContext::ServerContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ServerContext::~ServerContext() = default;

Result<std::unique_ptr<ServerContext>> ServerContext::make(Engine& engine, const ServerOptions& options) {
  TRY(std::shared_ptr<Config> config, Config::server(options));
  auto impl = std::make_unique<Impl>(Impl{engine.impl(), std::move(config)});
  return std::unique_ptr<ServerContext>(new ServerContext(std::move(impl)));
}

Result<> ServerContext::replace(const ServerOptions& options) {
  if (LIMPET_FAILPOINT("tls.certificate.swap")) return fail(Errc::io, "failpoint tls.certificate.swap");
  TRY(impl_->config, Config::server(options));
  return {};
}

ClientContext::ClientContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ClientContext::~ClientContext() = default;

Result<std::unique_ptr<ClientContext>> ClientContext::make(Engine& engine, const ClientOptions& options) {
  TRY(std::shared_ptr<Config> config, Config::client(options));
  auto impl = std::make_unique<Impl>(Impl{engine.impl(), std::move(config)});
  return std::unique_ptr<ClientContext>(new ClientContext(std::move(impl)));
}

Result<std::unique_ptr<ClientContext>> ClientContext::make_insecure(Engine& engine) {
  TRY(std::shared_ptr<Config> config, Config::insecure_client());
  auto impl = std::make_unique<Impl>(Impl{engine.impl(), std::move(config)});
  return std::unique_ptr<ClientContext>(new ClientContext(std::move(impl)));
}

Result<> ClientContext::replace(const ClientOptions& options) {
  TRY(impl_->config, Config::client(options));
  return {};
}

}  // namespace limpet::tls
