// Deleting one object on behalf of anybody: a client, the end of a namespace, the garbage collector.
#pragma once

#include <functional>
#include <string>

#include "api/context.h"
#include "api/removal.h"

namespace limpet::api {

struct Deletion {
  bool gone = false;       // else marked, and kept by finalizers or a grace period
  bool committed = false;  // else nothing changed
  std::string stored;      // the last state, or the marked one
  store::Revision version = 0;
  std::string uid;
};

// `term`: as Core::commit has it.
void run_delete(Core& core, const schema::Resource& r, std::string key, DeleteOptions options, uint64_t term,
                std::function<void(Outcome<Deletion>)> done);

// Of the request's body and query.
Outcome<DeleteOptions> delete_options(Call& call);

}  // namespace limpet::api
