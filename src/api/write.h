// The common way of every write: read the current object, make the new one from it, check and complete it,
// commit it under the condition that nobody was faster, answer. create.cc, update.cc, patch.cc and the
// subresources supply the step in the middle.
#pragma once

#include <functional>
#include <string>

#include "api/context.h"
#include "api/status.h"
#include "base/json.h"
#include "store/store.h"

namespace limpet::api {

// Which half of an object a write is about: the other half stays as it was.
enum class Part { main, status, whole };

struct Update {
  Part part = Part::main;
  std::string key;
  // The new object from the current one (`current` is null when there is none).
  std::function<Outcome<json::Value>(const store::Item* current)> make;
  bool create_if_absent = false;
  // Sends the answer; the default is the object.
  std::function<void(const CallPtr&, std::string_view stored, store::Revision rv, bool created)> answer;
  bool track = true;  // record in managedFields who set what; server-side apply has done it
};

void run_update(CallPtr call, Update update);

// Completes a new object (metadata of the server, admission, defaults, validation), commits and answers.
// `track`: false when the fields' owners are recorded already (server-side apply).
void run_create(CallPtr call, json::Value object, bool track = true);

// Server-side apply of `applied`, which names the object; `u` says all but how it is made.
void run_apply(CallPtr call, json::Value applied, Update u);

enum class PatchForm { json, merge, strategic, apply };
Outcome<PatchForm> patch_form(const http::Request& request);  // by its content type
Outcome<json::Value> parse_patch(const Call& call, PatchForm form);
// An object of `type` (not necessarily the resource's) as a patch other than apply leaves it.
Outcome<json::Value> patched(Call& call, PatchForm form, const schema::Type& type, json::Value object,
                             json::Ref patch);

// What patches and owners of fields made of an object stays as small as what a body may bring, so that it can
// be sent back. `too_large`, with the limit.
Outcome<> check_size(json::Ref object);

// Name and namespace of a body must be those of the address. A namespace that is absent is filled in; a name
// has to be there `with_name`.
Outcome<> check_address(const Call& call, json::Ref object, bool with_name);
Part part_of(std::string_view subresource);

// Manager of the fields written by this call: fieldManager, else the client's name.
std::string field_manager(const Call& call);

}  // namespace limpet::api
