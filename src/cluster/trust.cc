#include "cluster/trust.h"

#include "base/json.h"
#include "pki/device.h"

namespace limpet::cluster {
namespace {

void write_strings(json::Writer& w, const char* key, const auto& strings) {
  w.key(key).begin_array();
  for (const std::string& s : strings) w.string(s);
  w.end_array();
}

}  // namespace

std::string encode(const TrustReport& report) {
  json::Writer w;
  w.begin_object().field("name", report.trust.device).field("issuer", report.trust.issuer);
  write_strings(w, "trusted", report.trust.trusted);
  write_strings(w, "signing", report.signing);
  w.end_object();
  return w.take();
}

Result<TrustReport> decode_trust_report(std::string_view text) {
  TRY(const json::Value parsed, json::parse(text));
  const json::Ref in = parsed.ref();
  TrustReport out;
  out.trust.device = in["name"].str();
  out.trust.issuer = in["issuer"].str();
  CHECK_OK(pki::check_node_name(out.trust.device));
  if (in["trusted"].size() > max_trusted || in["signing"].size() > max_trusted)
    return fail(Errc::too_large, "a server trusts more keys than a cluster has");
  for (const json::Ref hash : in["trusted"]) out.trust.trusted.emplace_back(hash.str());
  for (const json::Ref hash : in["signing"]) out.signing.emplace(hash.str());
  return out;
}

}  // namespace limpet::cluster
