#include "api/encoder.h"
#include "api/fresh.h"
#include "api/object.h"
#include "api/verbs.h"

namespace limpet::api {

void get_object(CallPtr call) {
  const schema::Resource& r = *call->resource;
  std::string_view text = call->query().get("resourceVersion");
  Result<store::Revision> rv = parse_version(text);
  if (!rv) return call->fail(status::bad_request(rv.error().message));
  when_fresh(call, !text.empty(), *rv, [call, &r] {
    call->core.space(r).get(
        object_key(r, call->ns(), call->info.name), [call](Result<std::optional<store::Item>> got) {
          if (!got) return call->fail(status::from_error(got.error()));
          if (!*got) return call->fail(status::not_found(*call->resource, call->info.name));
          Encoder encoder(*call->resource, call->answer, call->core.clock.wall());
          call->respond(200, encoder.object(*(*got)->value, (*got)->mod_revision), encoder.content_type());
        });
  });
}

}  // namespace limpet::api
