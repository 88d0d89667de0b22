#include "api/token_bound.h"

#include "api/object.h"

namespace limpet::api {

void are_there(store::Space& space, std::vector<BoundObject> objects, std::function<void(bool)> done) {
  if (objects.empty()) return done(true);
  const BoundObject one = std::move(objects.back());
  objects.pop_back();
  space.get(one.key, [&space, uid = one.uid, objects = std::move(objects),
                      done = std::move(done)](Result<std::optional<store::Item>> item) mutable {
    if (!item || !*item || read_meta(*(*item)->value).uid != uid) return done(false);
    are_there(space, std::move(objects), std::move(done));
  });
}

}  // namespace limpet::api
