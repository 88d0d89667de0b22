// The reading side of the durable space: from memory where it can, from the file in short jobs where it must.
#include <algorithm>

#include "store/durable.h"

namespace limpet::store {
namespace {

constexpr size_t kPageItems = 200;
constexpr size_t kHistoryRows = 200;
constexpr size_t kMaxReads = 1024;

Item item_of(const Index::Map::value_type& entry, SharedBytes value) {
  return {entry.first, entry.second.created, revision_of(entry.second.id), std::move(value)};
}

struct Wanted {
  RowId id;
  std::string key;
};

Result<std::vector<SharedBytes>> read_rows(Database& db, const std::vector<Wanted>& wanted) {
  std::vector<SharedBytes> out;
  out.reserve(wanted.size());
  for (const Wanted& w : wanted) {
    TRY(Row row, db.read(w.id, w.key));
    out.push_back(share(std::move(row.value)));
  }
  return out;
}

Result<Event> event_of(Database& db, Row row) {
  Event e;
  e.key = row.key;
  e.revision = revision_of(row.id);
  e.type = row.deleted       ? Event::Type::deleted
           : row.previous_id ? Event::Type::modified
                             : Event::Type::created;
  if (!row.deleted) e.value = share(std::move(row.value));
  if (row.previous_id) {
    TRY(Row before, db.read(row.previous_id, row.key));
    (row.deleted ? e.value : e.previous) = share(std::move(before.value));
  }
  return e;
}

Result<WatchHub::Page> read_history(Database& db, Revision after, Revision upto, const std::string& prefix) {
  TRY(Database::History history, db.history(after, upto, prefix, kHistoryRows));
  WatchHub::Page page;
  page.upto = history.upto;
  for (Row& row : history.rows) {
    TRY(Event e, event_of(db, std::move(row)));
    page.events.push_back(std::move(e));
  }
  return page;
}

}  // namespace

void Durable::note(const Error& error) {
  if (error.code == Errc::corrupt) fatal(error);
}

std::unexpected<Error> Durable::being_installed() {
  return fail(Errc::unavailable, "this server is being given a newer state; try again");
}

Result<> Durable::room_for_read() const {
  if (fatal_) return stopped();
  if (installing_) return being_installed();
  if (storage_.under_way() < kMaxReads) return {};
  return fail(Errc::unavailable, "too many reads are waiting for the disk; try again");
}

Result<> Durable::readable(Revision revision) const {
  if (revision > hub_.now()) {
    return fail(Errc::invalid_argument,
                strf("revision %lld is of the future, the newest is %lld", static_cast<long long>(revision),
                     static_cast<long long>(hub_.now())));
  }
  if (revision <= hub_.compacted()) {
    return fail(Errc::expired,
                strf("revision %lld was compacted, the oldest is %lld", static_cast<long long>(revision),
                     static_cast<long long>(hub_.compacted() + 1)));
  }
  return {};
}

void Durable::get(const std::string& key, std::function<void(Result<std::optional<Item>>)> done) {
  const auto it = index_->map().find(key);
  if (it == index_->map().end()) return done(std::optional<Item>());
  Item item = item_of(*it, index_->use(it->second));
  if (item.value) return done(std::optional<Item>(std::move(item)));
  if (auto room = room_for_read(); !room) return done(std::unexpected(room.error()));
  ++stats_.reads_from_file;
  const RowId id = it->second.id;
  storage_.call(
      weak_from_this(),
      [wanted = std::vector<Wanted>{{id, key}}](Database& db) { return read_rows(db, wanted); },
      [this, id, item = std::move(item),
       done = std::move(done)](Result<std::vector<SharedBytes>> values) mutable {
        note(values);
        if (!values) return done(std::unexpected(values.error()));
        item.value = std::move((*values)[0]);
        index_->fill(item.key, id, item.value, false);
        done(std::optional<Item>(std::move(item)));
      });
}

void Durable::list(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
                   std::function<void(Result<Page>)> done) {
  limit = limit == 0 ? kPageItems : std::min(limit, kPageItems);
  if (revision != 0 && revision != hub_.now()) {
    if (auto ok = readable(revision); !ok) return done(std::unexpected(ok.error()));
    return list_then(prefix, after, revision, limit, std::move(done));
  }
  list_now(prefix, after, limit, std::move(done));
}

void Durable::list_now(const std::string& prefix, const std::string& after, size_t limit,
                       std::function<void(Result<Page>)> done) {
  auto page = std::make_shared<Page>();
  page->revision = hub_.now();
  std::vector<size_t> missing;
  const auto& map = index_->map();
  auto it = after < prefix ? map.lower_bound(prefix) : map.upper_bound(after);
  for (; it != map.end() && it->first.starts_with(prefix) && page->items.size() < limit; ++it) {
    if (!it->second.value) missing.push_back(page->items.size());
    page->items.push_back(item_of(*it, it->second.value));
  }
  for (; it != map.end() && it->first.starts_with(prefix); ++it) ++page->remaining;
  page->more = page->remaining > 0;
  if (page->more) pin(page->revision);
  if (missing.empty()) return done(std::move(*page));
  read_missing(std::move(page), std::move(missing), std::move(done));
}

void Durable::read_missing(std::shared_ptr<Page> page, std::vector<size_t> missing,
                           std::function<void(Result<Page>)> done) {
  if (auto room = room_for_read(); !room) return done(std::unexpected(room.error()));
  std::vector<Wanted> wanted;
  for (const size_t i : missing) {
    const Slot* slot = index_->find(page->items[i].key);
    wanted.push_back({slot->id, page->items[i].key});
  }
  stats_.reads_from_file += wanted.size();
  storage_.call(
      weak_from_this(), [wanted](Database& db) { return read_rows(db, wanted); },
      [this, wanted, page = std::move(page), missing = std::move(missing),
       done = std::move(done)](Result<std::vector<SharedBytes>> values) {
        note(values);
        if (!values) return done(std::unexpected(values.error()));
        for (size_t i = 0; i < missing.size(); ++i) {
          page->items[missing[i]].value = (*values)[i];
          index_->fill(wanted[i].key, wanted[i].id, (*values)[i], true);
        }
        done(std::move(*page));
      });
}

// How many items remain is taken from the present: it is an estimate for people, as in Kubernetes.
void Durable::list_then(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
                        std::function<void(Result<Page>)> done) {
  if (auto room = room_for_read(); !room) return done(std::unexpected(room.error()));
  pin(revision);
  const bool inclusive = after < prefix;
  storage_.call(
      weak_from_this(),
      [from = inclusive ? prefix : after, inclusive, end = after_prefix(prefix), revision,
       limit](Database& db) { return db.list_at(from, inclusive, end, revision, limit + 1); },
      [this, prefix, revision, limit, done = std::move(done)](Result<std::vector<Row>> rows) {
        note(rows);
        if (!rows) return done(std::unexpected(rows.error()));
        Page page;
        page.revision = revision;
        page.more = rows->size() > limit;
        if (page.more) rows->pop_back();
        for (Row& row : *rows) {
          page.items.push_back(
              {std::move(row.key), row.created, revision_of(row.id), share(std::move(row.value))});
        }
        if (page.more) {
          const auto& map = index_->map();
          auto it = map.upper_bound(page.items.back().key);
          for (; it != map.end() && it->first.starts_with(prefix); ++it) ++page.remaining;
          page.remaining = std::max<int64_t>(page.remaining, 1);
        }
        stats_.reads_from_file += page.items.size();
        done(std::move(page));
      });
}

void Durable::read_piece(const std::string& next, std::function<void(Result<StatePart>)> done) {
  if (auto room = room_for_read(); !room) return done(std::unexpected(room.error()));
  SnapshotCursor cursor{hub_.now(), replica_.core().applied_membership(), ""};
  if (!next.empty()) {
    auto begun = decode_cursor(next);
    if (!begun) return done(std::unexpected(begun.error()));
    cursor = std::move(*begun);
  }
  if (cursor.revision != hub_.now()) {
    if (auto ok = readable(cursor.revision); !ok) return done(std::unexpected(ok.error()));
  }
  pin(cursor.revision);
  StatePart part;
  part.revision = cursor.revision;
  part.term = replica_.core().standing().term;
  part.size = index_->bytes();
  storage_.call(
      weak_from_this(),
      [cursor, part = std::move(part)](Database& db) mutable -> Result<StatePart> {
        TRY(const SnapshotPart rows, db.read_part(cursor));
        part.bytes = encode(rows);
        if (!rows.end && !rows.rows.empty()) part.next = encode(cursor);
        return std::move(part);
      },
      [this, done = std::move(done)](Result<StatePart> read) {
        note(read);
        done(std::move(read));
      });
}

Result<std::unique_ptr<Watch>> Durable::watch(const std::string& prefix, Revision after, Watch::Sink sink) {
  if (fatal_) return stopped();
  return hub_.watch(prefix, after, std::move(sink));
}

void Durable::read_older(const std::string& prefix, Revision after,
                         std::function<void(Result<WatchHub::Page>)> done) {
  if (fatal_) return done(stopped());
  if (installing_) return done(being_installed());
  ++stats_.reads_from_file;
  storage_.call(
      weak_from_this(),
      [prefix, after, upto = hub_.now()](Database& db) { return read_history(db, after, upto, prefix); },
      [this, done = std::move(done)](Result<WatchHub::Page> page) {
        note(page);
        done(std::move(page));
      });
}

}  // namespace limpet::store
