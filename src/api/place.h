// Where in a cluster a request is served, by what it asks for.
//
//   documents (discovery, health, OpenAPI, version)           here
//   kinds that are answered and kept nowhere (reviews)         here; a TokenReview rests on the newest state
//   reads of durable kinds                                     here, as fresh as they ask (fresh.h)
//   logs, exec, attach, tokens: a look at the state            here, at the newest state
//   writes of durable kinds, dry runs too                      at the leader
//   everything about volatile kinds, heartbeats                at the leader, in whose memory they are
#pragma once

#include "api/request_info.h"
#include "schema/types.h"

namespace limpet::api {

enum class Place { here, here_newest, leader, leader_memory };

// What nobody serves is `here`: to be refused.
Place place_of(const RequestInfo& info);

bool mutating(const RequestInfo& info);

}  // namespace limpet::api
