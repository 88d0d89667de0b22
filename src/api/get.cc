#include "api/encoder.h"
#include "api/object.h"
#include "api/verbs.h"

namespace limpet::api {

void get_object(CallPtr call) {
  const schema::Resource& r = *call->resource;
  store::Space& space = call->core.space(r);
  Result<store::Revision> rv = parse_version(call->query().get("resourceVersion"));
  if (!rv) return call->fail(status::bad_request(rv.error().message));
  // Reads are always of the newest state, which satisfies every older version asked for.
  if (*rv > space.revision()) return call->fail(status::too_large_version(*rv, space.revision()));
  space.get(object_key(r, call->ns(), call->info.name), [call](Result<std::optional<store::Item>> got) {
    if (!got) return call->fail(status::from_error(got.error()));
    if (!*got) return call->fail(status::not_found(*call->resource, call->info.name));
    Encoder encoder(*call->resource, call->answer, call->core.clock.wall());
    call->respond(200, encoder.object(*(*got)->value, (*got)->mod_revision), encoder.content_type());
  });
}

}  // namespace limpet::api
