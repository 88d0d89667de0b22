// POST pods/NAME/eviction: a graceful deletion that disruption budgets may refuse (none are served yet).
#include "api/body.h"
#include "api/deletion.h"
#include "api/node_restriction.h"
#include "api/object.h"
#include "api/subresources.h"

namespace limpet::api {

void evict_pod(CallPtr call) {
  const schema::Type* type = schema::find_type("io.k8s.api.policy.v1.Eviction");
  if (!type) return call->fail(status::no_such_path());
  Outcome<json::Value> body = decode_object(*call, *type, "policy", "v1", "Eviction");
  if (!body) return call->fail(body.error());
  std::string_view name = body->ref()["metadata"]["name"].str();
  if (!name.empty() && name != call->info.name) {
    return call->fail(status::bad_request("name in URL does not match name in Eviction object"));
  }
  Outcome<DeleteOptions> options = read_delete_options(body->ref()["deleteOptions"], {});
  if (!options) return call->fail(options.error());
  if (call->dry_run()) options->dry_run = true;
  const schema::Resource& r = *call->resource;
  options->allowed = [call](json::Cursor o) { return restrict_deletion(*call, *call->resource, o); };
  run_delete(call->core, r, object_key(r, call->ns(), call->info.name), std::move(*options), call->term,
             [call](Outcome<Deletion> d) {
               if (!d) return call->fail(d.error());
               if (d->committed) call->unconfirmed = false;
               Status s;
               s.code = 201;
               call->respond(201, s.json());
             });
}

}  // namespace limpet::api
