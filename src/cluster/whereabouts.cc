#include "cluster/whereabouts.h"

#include "base/json.h"

namespace limpet::cluster {

std::string encode(const Whereabouts& whereabouts) {
  json::Writer w;
  w.begin_object().field("member", member_text(whereabouts.member));
  write_addresses(w, whereabouts.addresses);
  w.end_object();
  return w.take();
}

Result<Whereabouts> decode_whereabouts(std::string_view text) {
  json::Limits limits;
  limits.max_depth = 3;
  limits.max_values = 64;
  TRY(const json::Value parsed, json::parse(text, limits));
  Whereabouts out;
  out.member = parse_member(parsed.ref()["member"].str());
  if (out.member == 0) return fail(Errc::invalid_argument, "member is missing or not 16 hex digits");
  TRY(out.addresses, read_addresses(parsed.ref()["addresses"]));
  if (out.addresses.empty()) return fail(Errc::invalid_argument, "addresses are missing");
  return out;
}

}  // namespace limpet::cluster
