// The durable space: the index and the ring in memory, the rows in the file, the log in between.
//
// A write goes: encode -> queue -> raft core -> (agreed on) evaluate -> one SQLite transaction on the storage
// thread -> index -> acknowledgements -> watchers; replica.h has the order. What arrives while a transaction
// is under way is the next one, so that a sync is shared by all who wait for it. A single device is a raft
// group of one: what it appends is agreed on at once, and applied by the transaction that would have stored
// it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "loop/loop.h"
#include "store/applier.h"
#include "store/consensus.h"
#include "store/replica.h"
#include "store/reserve.h"
#include "store/storage_thread.h"
#include "store/watch_hub.h"

namespace limpet::store {

class Durable final : public Space,
                      public Consensus,
                      private Replica::Host,
                      public std::enable_shared_from_this<Durable> {
 public:
  // What opening found in the file.
  struct Loaded {
    Newest newest;
    Revision compacted = 0;
    std::deque<std::pair<Revision, RowId>> garbage;  // row that is history from this revision on, ascending
    Group group;
    raft::Start start;
    // Not 0: it leads at once, in the term after this one, which is above that of any start before.
    raft::Term enters = 0;
  };
  // Its newest row, its keys and what of it is history; `corrupt` when they do not belong together.
  static Result<> read_state(Database& db, Index& index, Loaded& out);
  // A file that was never of a group becomes that of a new one, or of one more member of
  // options.join_cluster, with the next transaction.
  static Result<Loaded> load(Database& db, Index& index, Random& random, const Options& options);

  Durable(loop::Loop& loop, const Options& options, Clock& clock, Random& random,
          std::unique_ptr<Index> index, Loaded loaded, StorageThread& storage,
          std::shared_ptr<Reserve> reserve);

  void start();  // once owned by a shared_ptr
  void on_fatal(std::function<void(Error)> f);
  // No new writes; done when those accepted are finished.
  void drain(std::function<void()> done);
  // Rejects what waits; reads and writes fail from now on.
  void fatal(Error error);

  void commit(Txn txn, std::function<void(Result<Committed>)> done) override;
  void get(const std::string& key, std::function<void(Result<std::optional<Item>>)> done) override;
  void list(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
            std::function<void(Result<Page>)> done) override;
  int64_t count(const std::string& prefix) const override { return index_->count(prefix); }
  Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after, Watch::Sink sink) override;
  Revision revision() const override { return hub_.now(); }
  Revision compacted_revision() const override { return hub_.compacted(); }

  raft::MemberId self() const override { return self_; }
  const std::string& cluster() const override { return cluster_; }
  raft::Status status() const override { return replica_.core().status(); }
  void on_message(std::function<void(raft::MemberId, std::string)> f) override { on_message_ = std::move(f); }
  Result<> receive(std::string_view bytes, raft::MemberId from) override;
  void unreachable(raft::MemberId peer) override;
  Subscription on_standing(std::function<void(const raft::Standing&)> f) override;
  std::optional<Leading> leading() const override;
  bool alone() const override { return replica_.core().alone(); }
  Result<> reconfigure(const raft::Membership& wanted) override;
  Result<> transfer(raft::MemberId to) override;
  void barrier(std::function<void(Result<>)> done) override;

  // As Store::read_state.
  void read_piece(const std::string& next, std::function<void(Result<StatePart>)> done);

  // The older part of what is kept in memory for watches goes: it is in the file.
  void shorten_history();
  void fill_stats(Stats& stats) const;
  uint64_t state_hash() const { return index_->state(); }

 private:
  using Answer = std::function<void(Result<Committed>)>;
  struct Proposal {
    SharedBytes bytes;
    raft::Term only_in = 0;  // 0: in any term
    Answer done;
  };
  struct Waiting {  // for the entry that it became
    raft::Term term = 0;
    Proposal proposal;
  };
  struct State {
    std::unique_ptr<Index> index;
    Loaded loaded;
  };
  using Barrier = std::function<void(Result<>)>;
  struct Confirmed {
    Barrier done;
    int64_t until = 0;  // monotonic ms
  };
  struct Written {  // by the storage thread, about one batch
    Result<> outcome;
    std::vector<SharedBytes> previous;
    int64_t ms = 0;
    uint64_t file_bytes = 0, wal_bytes = 0, syncs = 0, log_bytes = 0;
    bool checkpoint_due = false;
    std::shared_ptr<State> state;  // a snapshot was installed: what the file holds now
  };

  // What the replica asks of its host.
  bool prepare(const std::vector<raft::Entry>& entries) override;
  void write(const Transaction& transaction, Replica::Done done) override;
  void applied() override;
  void withdrawn(raft::Index first, const Error& error) override;
  void no_room(const Error& error) override;
  void installed(const raft::SnapshotMeta& meta) override;
  void send(raft::Message message) override;
  void read_entries(const raft::EntriesWanted& wanted) override;
  void read_chunk(const raft::ChunkWanted& wanted) override;
  void read_done(const raft::ReadDone& read) override;
  void standing(const raft::Standing& standing) override;
  void complaint(const std::string& what) override;

  static Result<std::shared_ptr<State>> read_again(Database& db, size_t cache_bytes);
  void take_over(State& state);
  void pace();
  void settle_reads();
  void stop_reads();
  void settle_waiting();
  void close_group();
  void expire_reads();
  static std::unexpected<Error> overtaken();
  std::unexpected<Error> not_leading() const;
  Result<> fits_term(raft::Term only_in) const;
  bool ready() const;
  void lost_lead();
  void give_up_waiting();
  void ask_soon();
  void ask();
  void shorten_log(uint64_t bytes);
  void kick();
  bool holds_back() const;
  void turn();
  void propose_some();
  void written(Written result, const Replica::Done& done);
  void publish(Batch& batch);
  void answer(Batch& batch);
  void next();
  void checkpoint();
  std::unexpected<Error> stopped() const;

  Result<> readable(Revision revision) const;
  void list_now(const std::string& prefix, const std::string& after, size_t limit,
                std::function<void(Result<Page>)> done);
  void list_then(const std::string& prefix, const std::string& after, Revision revision, size_t limit,
                 std::function<void(Result<Page>)> done);
  void read_missing(std::shared_ptr<Page> page, std::vector<size_t> missing,
                    std::function<void(Result<Page>)> done);
  void read_older(const std::string& prefix, Revision after,
                  std::function<void(Result<WatchHub::Page>)> done);
  Result<> room_for_read() const;
  static std::unexpected<Error> being_installed();
  void note(const Error& error);  // damage found by a read is fatal
  template <class T>
  void note(const Result<T>& r) {
    if (!r) note(r.error());
  }

  void pin(Revision revision);
  void compact_if_due();
  void compact_step();

  loop::Loop& loop_;
  const Options options_;
  Clock& clock_;
  std::unique_ptr<Index> index_;
  StorageThread& storage_;
  std::shared_ptr<Reserve> reserve_;  // touched by the storage thread only
  WatchHub hub_;
  RowId newest_id_;

  std::deque<Proposal> queue_;  // not in the log yet
  size_t queued_bytes_ = 0;
  std::map<raft::Index, Waiting> waiting_;
  std::shared_ptr<Batch> batch_;       // what was prepared
  std::vector<SharedBytes> previous_;  // the values that its changes replace, as far as they were read
  loop::Timer room_;
  bool kicked_ = false;
  size_t alone_ = 0;  // so many proposals are taken one by one, after a batch found the disk full
  bool draining_ = false;
  std::function<void()> drained_;
  std::optional<Error> fatal_;
  std::function<void(Error)> on_fatal_;

  std::deque<std::pair<Revision, RowId>> garbage_;
  Revision compacting_to_ = 0;
  bool compacting_ = false;
  std::map<Revision, int64_t>
      pins_;  // revision of a list under way -> until when it is waited for, monotonic ms

  // The group.
  const raft::MemberId self_;
  const std::string cluster_;
  std::function<void(raft::MemberId, std::string)> on_message_;
  std::vector<std::weak_ptr<std::function<void(const raft::Standing&)>>> on_standing_;
  raft::Standing standing_;  // as it was told
  int64_t leads_since_ms_ = 0;
  uint32_t lost_ticks_ = 0;  // since this member lost the lead
  loop::Timer tick_;
  std::vector<Barrier> barriers_;    // for the next question
  std::optional<uint64_t> asking_;   // the question that no leader answered yet
  std::vector<Barrier> asking_for_;  // those that it is for
  bool ask_kicked_ = false;
  std::multimap<raft::Index, Confirmed> confirmed_;  // that wait for this to be applied
  int64_t writing_since_ms_ = 0;                     // by the loop's clock
  bool installing_ = false;  // the file is another one in a moment: nothing may be asked of it
  bool shortening_log_ = false;
  bool closed_ = false;  // to messages and time

  Stats stats_;
  Replica replica_;  // last: it begins by asking this host
};

}  // namespace limpet::store
