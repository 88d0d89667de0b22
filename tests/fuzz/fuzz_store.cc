// Bytes that a damaged or foreign disk may give the store. The first byte chooses: a log entry, a write-ahead
// log, the record of the group, a part of a snapshot, or the rows of a database file, whose checksums are
// made right so that what lies behind them is reached too. An error with words or what the bytes say, never a
// crash.
#include <fuzzer/FuzzedDataProvider.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "store/database.h"
#include "store/entry.h"
#include "store/hash.h"
#include "store/wal_check.h"

using namespace limpet;
using namespace limpet::store;

namespace {

void entry(std::string_view bytes) {
  const auto entry = decode_entry(bytes);
  if (!entry) {
    if (entry.error().message.empty()) abort();
    return;
  }
  // What is accepted is what encode_entry would have made, where this version knows the values' format.
  Txn txn;
  for (const EntryOp& op : entry->ops) {
    Op out;
    out.type = op.type;
    out.key = op.key;
    out.expect = op.expect;
    if (op.type == Op::Type::put) {
      const auto value = from_stored(op.stored);
      if (!value) return;
      out.value = *value;
    }
    txn.ops.push_back(std::move(out));
  }
  const auto again = encode_entry(txn, entry->time);
  if (again && *again != bytes) abort();
}

void wal(std::string_view bytes) {
  const auto report = check_wal(bytes);
  if (!report && report.error().message.empty()) abort();
  if (report && report->commits > report->frames) abort();
}

void group(std::string_view bytes) {
  const auto group = decode_group(bytes);
  if (group ? encode(*group) != bytes : group.error().message.empty()) abort();
}

void snapshot(std::string_view bytes) {
  const auto part = decode_part(bytes);
  if (part ? encode(*part) != bytes : part.error().message.empty()) abort();
  const auto cursor = decode_cursor(bytes);
  if (cursor ? encode(*cursor) != bytes : cursor.error().message.empty()) abort();
}

// An empty database file of this version in a directory of its own, gone with the process.
struct Place {
  std::string dir, path;
  Place() {
    char made[] = "/tmp/limpet-fuzz-XXXXXX";
    if (!mkdtemp(made)) abort();
    dir = made;
    path = dir + "/state.db";
  }
  ~Place() {
    clear();
    rmdir(dir.c_str());
  }
  void clear() const {
    for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
  }
};

// The formula of database.cc.
uint64_t checksum(const int64_t (&n)[6], std::string_view key, std::string_view stored) {
  const int64_t numbers[] = {n[0], n[1], n[2], n[3], n[4], n[5], static_cast<int64_t>(key.size())};
  uint64_t h = 0;
  for (const int64_t v : numbers) h = (h ^ static_cast<uint64_t>(v)) * 0x9E3779B185EBCA87u, h ^= h >> 32;
  return hash64(stored, hash64(key, h));
}

void insert(sqlite3* db, const char* sql, std::string_view key, const int64_t* numbers, int count,
            const std::string* value) {
  sqlite3_stmt* s = nullptr;
  if (sqlite3_prepare_v2(db, sql, -1, &s, nullptr) != SQLITE_OK) abort();
  sqlite3_bind_blob64(s, 1, key.data(), key.size(), SQLITE_STATIC);
  for (int i = 0; i < count; ++i) sqlite3_bind_int64(s, 2 + i, numbers[i]);
  if (value) sqlite3_bind_blob64(s, 2 + count, value->data(), value->size(), SQLITE_STATIC);
  sqlite3_step(s);  // an id twice is refused by SQLite; the others stay
  sqlite3_finalize(s);
}

void fill(const std::string& path, FuzzedDataProvider& in) {
  sqlite3* db = nullptr;
  if (sqlite3_open(path.c_str(), &db) != SQLITE_OK) abort();
  sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", nullptr, nullptr, nullptr);
  for (int rows = 0; rows < 16 && in.remaining_bytes() > 0; ++rows) {
    const std::string key = in.ConsumeRandomLengthString(40), value = in.ConsumeRandomLengthString(64);
    const int64_t id = in.ConsumeBool() ? in.ConsumeIntegral<uint8_t>() << 16 : in.ConsumeIntegral<int64_t>();
    const bool deleted = in.ConsumeBool();
    const int64_t row[6] = {id,
                            in.ConsumeIntegral<int64_t>(),
                            in.ConsumeIntegral<int64_t>(),
                            in.ConsumeIntegral<int64_t>(),
                            in.ConsumeIntegral<int64_t>(),
                            in.ConsumeIntegral<int64_t>()};
    const std::string stored = deleted ? "" : in.ConsumeBool() ? to_stored(value) : value;
    const uint64_t sum = checksum(row, key, stored) ^ (in.ConsumeIntegral<uint8_t>() == 1);
    const int64_t columns[] = {row[0], row[1], row[2], row[3], row[4], row[5], static_cast<int64_t>(sum)};
    insert(db,
           "INSERT INTO rows(key, id, created, previous, idx, time, state, sum, value) "
           "VALUES(?,?,?,?,?,?,?,?,?)",
           key, columns, 7, deleted ? nullptr : &stored);
    const int64_t version[] = {id, row[1], deleted ? -1 : in.ConsumeIntegral<int64_t>()};
    insert(db, "INSERT INTO versions(key, id, created, size) VALUES(?,?,?,?)", key, version, 3, nullptr);
  }
  sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
  sqlite3_close(db);
}

void rows(const uint8_t* data, size_t size) {
  static Place place;
  FuzzedDataProvider in(data, size);
  place.clear();
  {
    auto made = Database::open(place.path, 1 << 20);
    if (!made || !(*made)->close()) abort();
  }
  fill(place.path, in);
  auto db = Database::open(place.path, 1 << 20);
  if (!db) abort();  // SQLite finds nothing wrong with the file
  (void)(*db)->newest();
  (void)(*db)->get_number("compacted");
  std::vector<std::pair<std::string, RowId>> keys;
  if (!(*db)->each_version([&](const Version& v) -> Result<> {
        keys.emplace_back(v.key, v.id);
        return {};
      })) {
    abort();
  }
  for (const auto& [key, id] : keys) {
    const auto row = (*db)->read(id, key);
    if (row ? row->key != key || row->id != id : row.error().message.empty()) abort();
  }
  const auto history = (*db)->history(0, INT64_MAX >> 16, "", 200);
  if (!history && history.error().message.empty()) abort();
  const auto list = (*db)->list_at("", true, "", INT64_MAX >> 16, 200);
  if (list && list->size() > keys.size()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      wal(rest);
      break;
    case 1:
      rows(data + 1, size - 1);
      break;
    case 2:
      group(rest);
      break;
    case 3:
      snapshot(rest);
      break;
    default:
      entry(rest);
  }
  return 0;
}
