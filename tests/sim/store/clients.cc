// Clients, who write and read, and what they are told.
#include "base/result.h"
#include "whole.h"

namespace sim {

using namespace limpet;
using ull = unsigned long long;

void Whole::client() {
  clock_.after(clock_.between(1, 200) * kMs, [this] {
    if (tired_) return;
    client();
    Device* d = some();
    if (Device* l = leader(); l && clock_.chance(700)) d = l;
    if (!d) return;
    ++operations;
    const uint64_t what = clock_.below(10);
    d->process->turn([&] { what < 4 ? write(*d) : what < 6 ? change(*d) : read(*d); });
    check_positions();
  });
}

// Every value is written once.
void Whole::write(Device& d) {
  const std::string key = "r/" + std::string(1, static_cast<char>('a' + clock_.below(4)));
  const std::string value = std::to_string(next_value_++);
  const std::string pad(clock_.chance(30) ? 20000 : clock_.below(300), 'x');
  const History::Id id = history_.write(key, value, clock_.now());
  d.store->durable().commit(
      {{{store::Op::Type::put, key, value + " " + pad, std::nullopt}}},
      [this, &d, id, key, value, process = d.process](Result<store::Committed> r) {
        if (!process->alive()) return;
        say("client wrote " + key + "=" + value + ": " + (r ? "done" : r.error().message));
        answered(d, id, value, r);
      });
}

void Whole::answered(Device& d, History::Id id, const std::string& value, const Result<store::Committed>& r) {
  if (r) {
    history_.done(id, clock_.now());
    ++commits;
    if (calm_) ++acknowledged_calm_;
  } else if (r.error().code != Errc::timeout) {
    history_.failed(id);
    if (sent_.unproven(value, d.store->consensus().status().applied))
      breach(strf("%zu says that %s was not written, and cannot know: ", d.number, value.c_str()) +
             r.error().message);
  }
}

// Makes and removes, several keys at once and with preconditions: for those who watch.
void Whole::change(Device& d) {
  store::Txn txn;
  for (uint64_t n = clock_.between(1, 3), at = clock_.below(6); n > 0; --n, ++at) {
    const auto type = clock_.chance(400) ? store::Op::Type::remove : store::Op::Type::put;
    std::optional<store::Revision> expect;
    if (clock_.chance(200)) expect = 0;
    txn.ops.push_back({type, strf("w/%llu", (ull)at),
                       type == store::Op::Type::put ? std::to_string(next_value_++) : "", expect});
  }
  if (const auto leads = d.store->consensus().leading(); leads && clock_.chance(300)) txn.term = leads->term;
  d.store->durable().commit(std::move(txn), [](const Result<store::Committed>&) {});
  if (clock_.chance(20)) d.store->save("blob", std::to_string(next_value_++), [](const Result<>&) {});
}

void Whole::read(Device& d) {
  const std::string key = "r/" + std::string(1, static_cast<char>('a' + clock_.below(4)));
  d.store->consensus().barrier([this, &d, key, begin = clock_.now(), process = d.process](const Result<>& r) {
    if (!r || !process->alive() || !d.store) return;
    d.store->durable().get(key, [this, key, begin, process](const Result<std::optional<store::Item>>& item) {
      if (!item || !process->alive()) return;
      const std::string value = *item ? (*item)->value->substr(0, (*item)->value->find(' ')) : "";
      say("client read " + key + "=" + value);
      history_.read(key, value, begin, clock_.now());
    });
  });
}

}  // namespace sim
