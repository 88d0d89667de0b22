// How new the state must be that a read is answered from, and the wait for it.
//
// A read that names no resourceVersion is answered from what was acknowledged before it came (linearizable);
// "0" from what is there; any other from that revision on, which is waited for a moment and then refused as
// upstream does it (504, cause ResourceVersionTooLarge):
// https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
// Where the state here is the only one (a device alone; volatile kinds), nothing is waited for: nobody can
// have given out a later revision.
#pragma once

#include <functional>
#include <utility>

#include "api/context.h"

namespace limpet::api {

// The waits themselves. They answer the call when it cannot be.
void await_newest(const CallPtr& call, std::function<void()> then);
void await_revision(const CallPtr& call, store::Revision revision, std::function<void()> then);

inline bool only_state(const Call& call) {
  return call.core.single() || (call.resource && call.resource->storage() == schema::Storage::transient);
}

// Goes on at once where it can, and then costs nothing.
template <class F>
void when_newest(const CallPtr& call, F then) {
  if (call->newest || only_state(*call)) return then();
  await_newest(call, std::move(then));
}

// Of call->resource.
template <class F>
void when_at_least(const CallPtr& call, store::Revision revision, F then) {
  if (revision <= call->core.space(*call->resource).revision()) return then();
  await_revision(call, revision, std::move(then));
}

// As the resourceVersion of the query has it.
template <class F>
void when_fresh(const CallPtr& call, bool version_given, store::Revision version, F then) {
  if (!version_given) return when_newest(call, std::move(then));
  when_at_least(call, version, std::move(then));
}

}  // namespace limpet::api
