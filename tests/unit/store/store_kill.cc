// The writer that is killed: commits numbered transactions as fast as it can, several at a time, and prints
// each number once it is acknowledged. With --check it opens the store instead and prints the last number in
// it, after checking that the state is exactly that of one moment.
//
//   store_kill FILE          writes until killed; lines "ack N"
//   store_kill FILE --check  prints "last N"
//   store_kill FILE --update N   N updates of 3 KB objects, one after another, then a clean stop
//   store_kill FILE --rate   5 s each: commits a second with 64 waiting and with one, then exits
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "store/store.h"

using namespace limpet;
using namespace limpet::store;

namespace {

constexpr int kKeep = 20;
constexpr int kUnderWay = 16;

std::string key_of(int64_t n) { return strf("k%010lld", static_cast<long long>(n)); }
std::string value_of(int64_t n) {
  return std::string(static_cast<size_t>(n * 131 % 3000), 'x') + std::to_string(n);
}

struct Program {
  loop::Loop loop;
  SystemClock clock;
  std::unique_ptr<Store> store;
  int64_t next = 0;
  int64_t acked = 0;

  bool open(const char* path) {
    auto s = Store::open(loop, {.path = path, .history_revisions = 50, .checkpoint_bytes = 128 << 10}, clock);
    if (!s) fprintf(stderr, "%s\n", s.error().message.c_str());
    if (!s) return false;
    store = std::move(*s);
    store->on_fatal([](Error e) {
      fprintf(stderr, "%s\n", e.message.c_str());
      _exit(3);
    });
    next = store->durable().revision();
    return true;
  }

  void write_one() {
    const int64_t n = ++next;
    Txn txn{{{Op::Type::put, "counter", std::to_string(n), n > 1 ? std::optional<Revision>(n - 1) : 0},
             {Op::Type::put, key_of(n), value_of(n), 0}}};
    if (n > kKeep) txn.ops.push_back({Op::Type::remove, key_of(n - kKeep), {}, n - kKeep});
    store->durable().commit(std::move(txn), [this, n](Result<Committed> r) {
      if (!r || r->revision != n) {
        fprintf(stderr, "transaction %lld: %s\n", static_cast<long long>(n),
                r ? "wrong revision" : r.error().message.c_str());
        _exit(4);
      }
      const std::string line = strf("ack %lld\n", static_cast<long long>(n));
      if (write(1, line.data(), line.size()) < 0) _exit(5);
      write_one();
    });
  }

  // The items must be those after exactly `revision` transactions.
  int check() {
    const int64_t n = store->durable().revision();
    int bad = 0;
    bool listed = false;
    store->durable().list("", "", 0, 0, [&](Result<Page> page) {
      listed = true;
      const int64_t first = n > kKeep ? n - kKeep + 1 : 1;
      if (!page || page->items.size() != static_cast<size_t>(n == 0 ? 0 : n - first + 2)) {
        bad = 1;
        return;
      }
      for (size_t i = 0; i < page->items.size(); ++i) {
        const Item& item = page->items[i];
        const int64_t of = first + static_cast<int64_t>(i) - 1;
        bad |= i == 0 ? *item.value != std::to_string(n)
                      : item.key != key_of(of) || *item.value != value_of(of) || item.mod_revision != of;
      }
    });
    loop.run_until([&] { return listed; }, 10000);
    printf("%s %lld\n", bad || !listed ? "bad" : "last", static_cast<long long>(n));
    return bad || !listed;
  }

  // Commits a second of 3 KB objects with so many waiting.
  void rate(int waiting, const char* what) {
    int64_t done = 0;
    const int64_t from = clock.monotonic_ms();
    std::function<void(int)> go = [&](int slot) {
      store->durable().commit(
          {{{Op::Type::put, strf("rate/%d", slot), std::string(3000, 'x'), std::nullopt}}},
          [&, slot](Result<Committed> r) {
            if (!r) _exit(6);
            ++done;
            if (clock.monotonic_ms() - from < 5000) go(slot);
          });
    };
    for (int i = 0; i < waiting; ++i) go(i);
    loop.run_until([&] { return clock.monotonic_ms() - from >= 5000; }, 10000);
    printf("%s: %lld a second\n", what, static_cast<long long>(done * 1000 / (clock.monotonic_ms() - from)));
    loop.run_until([] { return false; }, 200);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  Program p;
  const int64_t from = p.clock.monotonic_ms();
  if (!p.open(argv[1])) return 1;
  if (argc > 2 && strcmp(argv[2], "--check") == 0) return p.check();
  if (argc > 2 && strcmp(argv[2], "--rate") == 0) {
    printf("open: %lld ms, %lld keys\n", static_cast<long long>(p.clock.monotonic_ms() - from),
           static_cast<long long>(p.store->durable().count("")));
    p.rate(64, "64 waiting");
    p.rate(1, "one waiting");
    return 0;
  }
  if (argc > 3 && strcmp(argv[2], "--update") == 0) {
    // N updates of 100 objects of 3 KB, one after another.
    bool closed = false;
    int64_t left = atoll(argv[3]);
    std::function<void()> go = [&] {
      if (left-- <= 0) return p.store->close([&] { closed = true; });
      p.store->durable().commit(
          {{{Op::Type::put, strf("pods/default/object-%lld", static_cast<long long>(left % 100)),
             std::string(3000, 'x'), std::nullopt}}},
          [&](Result<Committed> r) {
            if (!r) _exit(6);
            go();
          });
    };
    go();
    return p.loop.run_until([&] { return closed; }, 600000) ? 0 : 7;
  }
  for (int i = 0; i < kUnderWay; ++i) p.write_one();
  p.loop.run_until([] { return false; }, 600000);
  return 0;
}
