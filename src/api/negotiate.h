// Content negotiation (RFC 9110 section 12): which form of an answer the client accepts, in its order of
// preference.
//
// limpet answers in JSON; what is negotiated is the shape: the object itself, a Table for printing, or
// metadata only (https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace limpet::api {

struct MediaType {
  std::string type;                                         // "application/json", lower case
  std::vector<std::pair<std::string, std::string>> params;  // names in lower case, q excluded
  double q = 1;
  std::string_view param(std::string_view name) const;
};

// One media type ("application/json; charset=utf-8"); nullopt when malformed.
std::optional<MediaType> parse_media_type(std::string_view text);
// The clauses of an Accept header, best first (by q, then by order); those with q=0 and malformed ones are
// dropped.
std::vector<MediaType> parse_accept(std::string_view header);

enum class Shape { object, table, partial, partial_list };

struct Answer {
  Shape shape = Shape::object;
  std::string version = "v1";  // of the Table or PartialObjectMetadata
  enum class Include { metadata, object, none } include = Include::metadata;  // rows[].object of a Table
};

inline constexpr std::string_view kServedTypes = "application/json";

// nullopt: nothing acceptable (406). `transforms`: the resource offers Table and PartialObjectMetadata.
std::optional<Answer> negotiate(std::string_view accept, std::string_view include_object, bool transforms);

}  // namespace limpet::api
