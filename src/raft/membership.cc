#include "raft/membership.h"

#include "base/varint.h"

namespace limpet::raft {
namespace {

constexpr char kVersion = 1;

bool contains(const std::vector<MemberId>& ids, MemberId id) {
  return std::binary_search(ids.begin(), ids.end(), id);
}

Result<> check_ids(const std::vector<MemberId>& ids, const char* what) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == 0) return fail(Errc::invalid_argument, strf("a member id is 0 among the %s", what));
    if (i > 0 && ids[i - 1] >= ids[i]) return fail(Errc::invalid_argument, strf("%s are not sorted", what));
  }
  return {};
}

void put_ids(std::string& out, const std::vector<MemberId>& ids) {
  put_varint(out, ids.size());
  for (const MemberId id : ids) put_varint(out, id);
}

std::vector<MemberId> take_ids(ByteReader& in) {
  const uint64_t n = in.varint();
  if (n > kMaxMembers || n > in.left()) in.bad();
  std::vector<MemberId> ids(in.ok() ? n : 0);
  for (MemberId& id : ids) id = in.varint();
  return ids;
}

std::string list(const std::vector<MemberId>& ids) {
  std::string out = "(";
  for (const MemberId id : ids) out += (out.size() > 1 ? " " : "") + std::to_string(id);
  return out + ")";
}

}  // namespace

bool Membership::votes(MemberId id) const { return contains(voters, id) || contains(outgoing, id); }

bool Membership::has(MemberId id) const { return votes(id) || contains(learners, id); }

std::vector<MemberId> Membership::all() const {
  std::vector<MemberId> out = voters;
  out.insert(out.end(), outgoing.begin(), outgoing.end());
  out.insert(out.end(), learners.begin(), learners.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<> check(const Membership& membership) {
  CHECK_OK(check_ids(membership.voters, "voters"));
  CHECK_OK(check_ids(membership.outgoing, "outgoing voters"));
  CHECK_OK(check_ids(membership.learners, "learners"));
  if (membership.voters.empty()) return fail(Errc::invalid_argument, "a group needs a voter");
  for (const MemberId id : membership.learners) {
    if (contains(membership.voters, id)) {
      return fail(Errc::invalid_argument, strf("member %llu is voter and learner", (unsigned long long)id));
    }
  }
  if (membership.all().size() > kMaxMembers) {
    return fail(Errc::invalid_argument, strf("more than %zu members", kMaxMembers));
  }
  return {};
}

Membership enter(const Membership& from, const Membership& to) {
  if (from.voters == to.voters) return {to.voters, {}, to.learners};
  return {to.voters, from.voters, to.learners};
}

Membership leave(const Membership& joint) { return {joint.voters, {}, joint.learners}; }

std::string encode(const Membership& membership) {
  std::string out(1, kVersion);
  put_ids(out, membership.voters);
  put_ids(out, membership.outgoing);
  put_ids(out, membership.learners);
  return out;
}

Result<Membership> decode_membership(std::string_view bytes) {
  if (bytes.empty()) return fail(Errc::corrupt, "membership: empty");
  if (bytes[0] != kVersion) {
    return fail(Errc::unsupported,
                strf("membership of version %d, this limpet knows %d", bytes[0], kVersion));
  }
  ByteReader in(bytes.substr(1));
  Membership out;
  out.voters = take_ids(in);
  out.outgoing = take_ids(in);
  out.learners = take_ids(in);
  if (!in.ok() || !in.at_end()) return fail(Errc::corrupt, "membership: not as it was written");
  if (auto ok = check(out); !ok) return fail(Errc::corrupt, "membership: " + ok.error().message);
  return out;
}

std::string to_string(const Membership& membership) {
  std::string out = list(membership.voters);
  if (membership.joint()) out += "&&" + list(membership.outgoing);
  if (!membership.learners.empty()) out += " learners " + list(membership.learners);
  return out;
}

}  // namespace limpet::raft
