// The query parameters of lists and watches, checked against each other as upstream does
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
#pragma once

#include <optional>
#include <string>

#include "api/status.h"
#include "http/message.h"
#include "store/store.h"

namespace limpet::api {

enum class Match { unset, not_older_than, exact };

struct ListOptions {
  int64_t limit = 0;  // 0: all
  std::string continue_token;
  bool version_given = false;
  store::Revision version = 0;
  Match match = Match::unset;
  int64_t timeout_s = 0;  // 0: not given
  bool bookmarks = false;
  std::optional<bool> send_initial_events;
};

Outcome<ListOptions> read_list_options(const http::Query& query, bool watch);

// Where a paged list goes on: opaque to clients, bound to one selection.
struct Position {
  store::Revision revision = 0;  // 0: whatever is current (after an expired list)
  std::string after;             // the last key that was sent
};
std::string encode_continue(const Position& p, std::string_view fingerprint);
Outcome<Position> decode_continue(std::string_view token, std::string_view fingerprint,
                                  std::string_view prefix);

}  // namespace limpet::api
