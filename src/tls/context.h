// What the two kinds of context hold: the engine and the configuration for handshakes from now on. Internal.
#pragma once

#include <memory>

#include "tls/config.h"
#include "tls/engine.h"
#include "tls/tls.h"

namespace limpet::tls {

struct ServerContext::Impl {
  Engine::Impl& engine;
  std::shared_ptr<Config> config;
};

struct ClientContext::Impl {
  Engine::Impl& engine;
  std::shared_ptr<Config> config;
};

// The stream after a handshake; takes the connection below it, whose reading is off.
std::unique_ptr<Stream> established(Engine::Impl& engine, std::shared_ptr<Session> session,
                                    std::unique_ptr<loop::Stream> below);

}  // namespace limpet::tls
