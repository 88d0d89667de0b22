// Writes stored objects in the shape that was negotiated: as they are, as rows of a Table, or metadata only;
// alone, in a list, or as watch events. Appends text; builds no tree.
#pragma once

#include <string>
#include <string_view>

#include "api/negotiate.h"
#include "base/clock.h"
#include "schema/types.h"
#include "store/store.h"

namespace limpet::api {

struct ListMeta {
  store::Revision version = 0;
  std::string continue_token;
  int64_t remaining = -1;  // -1: not told
};

class Encoder {
 public:
  Encoder(const schema::Resource& resource, const Answer& answer, WallTime now)
      : resource_(resource), answer_(answer), now_(now) {}
  void set_now(WallTime now) { now_ = now; }

  std::string content_type() const;
  std::string object(std::string_view stored, store::Revision rv) const;  // the answer to a get or a write

  // A list is head + items joined by commas + tail.
  std::string list_head() const;
  void item(std::string& out, std::string_view stored, store::Revision rv) const;
  std::string list_tail(const ListMeta& meta) const;

  // One line of a watch stream. `type` is ADDED, MODIFIED or DELETED.
  void event(std::string& out, std::string_view type, std::string_view stored, store::Revision rv);
  // A bookmark: an object of the kind with a resourceVersion and nothing else.
  void bookmark(std::string& out, store::Revision rv, bool initial_events_end) const;

 private:
  void row(std::string& out, std::string_view stored, store::Revision rv) const;
  void table(std::string& out, std::string_view stored, store::Revision rv, bool columns) const;

  const schema::Resource& resource_;
  Answer answer_;
  WallTime now_;
  bool columns_sent_ = false;
};

}  // namespace limpet::api
