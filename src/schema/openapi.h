// OpenAPI documents from the tables: what kubectl reads for explain, apply and --validate, and what code
// generators and conformance read.
//
// A document is written into one string when somebody asks (about a millisecond per 200 KB) and belongs to
// the caller; nothing stays here. Asking touches the documentation's pages; release_docs() (types.h) gives
// them back. Source:
// https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
#pragma once

#include <string>
#include <string_view>

namespace limpet::schema {

// A token that changes whenever a document may: for ETag and the hash= of the index.
std::string_view openapi_hash();

// GET /openapi/v3: {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=..."},...}}
std::string openapi_v3_index();

// GET /openapi/v3/api/v1, /openapi/v3/apis/apps/v1: group and version ("" and "v1"). Empty when we serve
// nothing there.
std::string openapi_v3(std::string_view group, std::string_view version);

// GET /openapi/v2: everything in one document.
std::string openapi_v2();
// The same in protobuf, all that kubectl accepts there; of its paths only the patches, and of those
// what tells that they know dryRun and fieldValidation.
std::string openapi_v2_protobuf();

}  // namespace limpet::schema
