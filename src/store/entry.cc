#include "store/entry.h"

#include <algorithm>

#include "base/varint.h"

namespace limpet::store {
namespace {

constexpr uint8_t kVersion = 1;

bool keys_distinct(std::vector<std::string_view>& keys) {
  std::sort(keys.begin(), keys.end());
  return std::adjacent_find(keys.begin(), keys.end()) == keys.end();
}

Result<> check(const Txn& txn) {
  if (txn.ops.empty()) return fail(Errc::invalid_argument, "a transaction without an operation");
  if (txn.ops.size() > kMaxOps) {
    return fail(Errc::invalid_argument,
                strf("%zu operations in a transaction, at most %zu", txn.ops.size(), kMaxOps));
  }
  std::vector<std::string_view> keys;
  size_t total = 0;
  for (const Op& op : txn.ops) {
    if (op.key.empty() || op.key.size() > kMaxKey) {
      return fail(Errc::invalid_argument,
                  strf("a key of %zu bytes, allowed are 1 to %zu", op.key.size(), kMaxKey));
    }
    if (op.value.size() > kMaxValue) {
      return fail(Errc::too_large,
                  strf("%s: a value of %zu bytes, at most %zu", op.key.c_str(), op.value.size(), kMaxValue));
    }
    if (op.expect && *op.expect < 0) return fail(Errc::invalid_argument, op.key + ": a negative revision");
    total += op.key.size() + op.value.size() + 32;
    keys.push_back(op.key);
  }
  if (total > kMaxEntry)
    return fail(Errc::too_large, strf("a transaction of %zu bytes, at most %zu", total, kMaxEntry));
  if (!keys_distinct(keys)) return fail(Errc::invalid_argument, "a transaction names a key twice");
  return {};
}

}  // namespace

std::string to_stored(std::string_view value) {
  std::string out;
  out.reserve(value.size() + 1);
  out.push_back(static_cast<char>(Format::plain));
  out.append(value);
  return out;
}

Result<std::string_view> from_stored(std::string_view stored) {
  if (stored.empty()) return fail(Errc::corrupt, "a value without its format byte");
  switch (static_cast<Format>(stored[0])) {
    case Format::plain:
      return stored.substr(1);
    case Format::compressed:
      return fail(Errc::unsupported, "a compressed value, which this version cannot read");
    case Format::encrypted:
      return fail(Errc::unsupported, "an encrypted value, which this version cannot read");
  }
  return fail(Errc::corrupt, strf("a value of unknown format %d", static_cast<uint8_t>(stored[0])));
}

Result<std::string> encode_entry(const Txn& txn, int64_t time) {
  CHECK_OK(check(txn));
  std::string out;
  size_t size = 16;
  for (const Op& op : txn.ops) size += op.key.size() + op.value.size() + 24;
  out.reserve(size);
  out.push_back(static_cast<char>(kVersion));
  put_varint(out, static_cast<uint64_t>(time < 0 ? 0 : time));
  put_varint(out, txn.ops.size());
  for (const Op& op : txn.ops) {
    out.push_back(op.type == Op::Type::put ? 0 : 1);
    out.push_back(op.expect ? 1 : 0);
    if (op.expect) put_varint(out, static_cast<uint64_t>(*op.expect));
    put_varint(out, op.key.size());
    out.append(op.key);
    if (op.type != Op::Type::put) continue;
    put_varint(out, op.value.size() + 1);
    out.push_back(static_cast<char>(Format::plain));
    out.append(op.value);
  }
  return out;
}

Result<Entry> decode_entry(std::string_view bytes) {
  ByteReader in(bytes);
  const uint8_t version = in.byte();
  if (in.ok() && version > kVersion) {
    return fail(Errc::unsupported,
                strf("a log entry of version %d, this limpet knows %d", version, kVersion));
  }
  const auto corrupt = [] { return fail(Errc::corrupt, "a damaged log entry"); };
  const uint64_t time = in.varint();
  const uint64_t count = in.varint();
  if (!in.ok() || version != kVersion || count == 0 || count > kMaxOps || time > INT64_MAX) return corrupt();
  Entry entry;
  entry.time = static_cast<int64_t>(time);
  std::vector<std::string_view> keys;
  for (uint64_t i = 0; i < count; ++i) {
    EntryOp op;
    const uint8_t type = in.byte(), expects = in.byte();
    if (!in.ok() || type > 1 || expects > 1) return corrupt();
    op.type = type == 0 ? Op::Type::put : Op::Type::remove;
    if (expects) {
      const uint64_t expect = in.varint();
      if (expect > INT64_MAX) return corrupt();
      op.expect = static_cast<Revision>(expect);
    }
    op.key = in.bytes(kMaxKey);
    if (type == 0) op.stored = in.bytes(kMaxValue + 1);
    if (!in.ok() || op.key.empty() || (type == 0 && op.stored.empty())) return corrupt();
    keys.push_back(op.key);
    entry.ops.push_back(op);
  }
  if (!in.at_end() || !keys_distinct(keys)) return corrupt();
  return entry;
}

}  // namespace limpet::store
