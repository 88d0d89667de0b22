// Which groups, versions and resources exist: generated from the schema's tables at each request.
//
// Aggregated (apidiscovery.k8s.io v2, and v2beta1 for clients of before) and the older documents, which
// clients still read. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace limpet::api {

struct Document {
  std::string body;
  std::string content_type = "application/json";
};

// nullopt: no discovery document lives at this path, or nothing acceptable is offered (`not_acceptable` is
// set).
std::optional<Document> discover(std::string_view path, std::string_view accept, bool* not_acceptable);

}  // namespace limpet::api
