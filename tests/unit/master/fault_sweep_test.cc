// SPDX-License-Identifier: MIT
//
// A scripted load, and a disk that fails in it: the n-th write, sync, truncation or open, for every
// n, on a single master and on either node of a pair. Then the power of that machine is cut, it is
// started again, and everything that was acknowledged must be there, and nothing that was never
// said; the load goes on to its end, and the tables are those of a load that nothing happened to.
#include <doctest/doctest.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "common/model/limits.h"
#include "master/replica.h"
#include "master/store/files.h"
#include "master/store/sqlite_store.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/nonsense.h"
#include "tests/support/temp_dir.h"

namespace capstan::test {
namespace {

using Batches = std::vector<store::Batch>;

/// A walk over all commands.
Batches a_load() {
  constexpr int kSteps = 80;
  Nonsense walk(3);
  for (int step = 0; step < kSteps; ++step) walk.step();
  Rng rng(3);
  return cut(walk.f.entries, rng, 20);
}

/// Every row of every table but those that say what was when: the journal and meta.
std::map<std::string, std::vector<std::string>> rows_of(const std::string& dir) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(store::database_path(dir).c_str(), &db) == SQLITE_OK);
  std::map<std::string, std::vector<std::string>> rows;
  const auto each = [db](const std::string& sql, const auto& take) {
    sqlite3_stmt* statement = nullptr;
    REQUIRE(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) take(statement);
    sqlite3_finalize(statement);
  };
  const auto text_of = [](sqlite3_stmt* row, int column) {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(row, column));
    const int size = sqlite3_column_bytes(row, column);
    return bytes == nullptr ? std::string() : std::string(bytes, static_cast<std::size_t>(size));
  };
  each("SELECT name FROM sqlite_schema WHERE type = 'table'",
       [&](sqlite3_stmt* row) { rows[text_of(row, 0)]; });
  rows.erase("journal");
  rows.erase("meta");
  for (auto& [table, list] : rows) {
    each("SELECT * FROM " + table, [&, &into = list](sqlite3_stmt* row) {
      std::string text;
      for (int i = 0; i < sqlite3_column_count(row); ++i) text += text_of(row, i) + "|";
      into.push_back(text);
    });
    std::sort(list.begin(), list.end());
  }
  sqlite3_close(db);
  return rows;
}

/// For all directories: to make one takes longer than all that is tested.
const std::string& ballast() {
  static const TempDir dir;
  static const std::string path = dir.file("ballast");
  store::make_ballast(path, limits::kBallastBytes);
  return path;
}

/// A machine with a master's directory.
class Machine {
 public:
  Machine() { std::filesystem::create_hard_link(ballast(), dir_.file("ballast")); }
  Result<void> start() {
    store::StoreOptions options;
    options.dir = dir_.path();
    options.nonce = 7;
    options.cluster = an_id(1);
    options.db_uuid = an_id(2);
    options.generation = {1, 1};
    opened_ = {};
    store_ = TRY(store::SqliteStore::open(options, opened_));
    return {};
  }
  Result<void> close() {
    TRY(store_->close());
    store_.reset();
    return {};
  }
  void cut_power(FaultVfs& disk, Rng& rng) {
    TempDir next;
    std::filesystem::create_hard_link(ballast(), next.file("ballast"));
    disk.cut_power(dir_.path(), next.path(), rng);
    disk.call_off();
    store_.reset();
    dir_ = std::move(next);
  }
  /// As a node that does not lead. REQUIRES: it was just started.
  Result<Replica> follow() { return Replica::open(*store_, std::move(opened_)); }
  store::SqliteStore& store() { return *store_; }
  [[nodiscard]] const std::string& dir() const { return dir_.path(); }

 private:
  TempDir dir_;
  std::unique_ptr<store::SqliteStore> store_;
  store::Opened opened_;
};

/// A queue with a store, as one that leads has it: rows go into the tables one batch later.
class Lead {
 public:
  /// Everything in its journal is committed.
  Result<void> begin(Machine& machine, Replica&& replica) {
    machine_ = &machine;
    TRY(replica.commit(replica.last().seq, {}));
    Taken taken = replica.take();
    queue_ = std::move(taken.queue);
    pending_ = std::move(taken.rows);
    return {};
  }
  SealedBatch seal(const store::Batch& batch) {
    before_ = queue_.last_seq();
    rows_ = {};
    std::vector<Effect> effects;
    for (const Entry& entry : batch) queue_.apply(entry, effects, rows_);
    rows_.tasks.sort();
    return machine_->store().seal(batch, rows_);
  }
  /// REQUIRES: it was sealed just now.
  Result<void> append(const SealedBatch& sealed, const store::Batch& batch) {
    const auto once = [&] { return machine_->store().append(sealed, batch, pending_, before_); };
    Result<void> written = once();
    // It rolled back whole, and the ballast makes room for it.
    if (!written && written.error().code == Errc::DiskFull) written = once();
    if (written) pending_ = std::move(rows_);
    return written;
  }
  Result<void> flush() {
    return machine_->store().flush(std::exchange(pending_, {}), queue_.last_seq());
  }
  [[nodiscard]] JournalEnd end() const { return machine_->store().journal_ends().back(); }
  [[nodiscard]] const Queue& queue() const { return queue_; }

 private:
  Machine* machine_ = nullptr;
  Queue queue_;
  RowChanges pending_;  ///< Of what is in the journal, and not in the tables.
  RowChanges rows_;     ///< Of the batch at hand.
  Seq before_;
};

/// One or two masters, and whoever sends them the load.
class Load {
 public:
  Load(FaultVfs& disk, std::size_t nodes, const Batches& batches, std::uint64_t seed = 1)
      : disk_(disk), nodes_(nodes), rng_(seed), batches_(batches) {}

  /// Between batches, and behind rows that were not synced, so often.
  void cut_power_sometimes(unsigned percent) { cuts_percent_ = percent; }
  [[nodiscard]] std::uint64_t cuts() const { return cuts_; }

  void order(std::size_t node, FaultVfs::Fault fault) {
    fault.dir = machines_[node].dir();
    disk_.order(std::move(fault));
  }
  [[nodiscard]] std::uint64_t count(std::size_t node, FaultVfs::Op op) const {
    return disk_.count(machines_[node].dir(), op);
  }

  /// To the end, over whatever happens.
  void run() {
    for (std::size_t node = nodes_; node-- > 0;) retry(node, [&] { return join(node); });
    while (end().seq < batches_.back().back().seq) {
      if (!restarted_ && next() >= batches_.size() / 2) {
        restarted_ = true;
        restart();
      } else {
        one_batch(batches_[next()]);
      }
      if (rng_.chance(cuts_percent_)) cut_power();
    }
    finish();
  }
  [[nodiscard]] const auto& rows() const { return rows_; }
  [[nodiscard]] const JournalEnd& acknowledged() const { return acknowledged_; }

 private:
  [[nodiscard]] JournalEnd end() const { return lead_.end(); }
  [[nodiscard]] std::size_t follower() const { return 1 - leader_; }
  [[nodiscard]] std::size_t next() const {
    const auto is_behind = [this](const store::Batch& b) { return b.front().seq > end().seq; };
    return static_cast<std::size_t>(std::find_if(batches_.begin(), batches_.end(), is_behind) -
                                    batches_.begin());
  }

  /// The node dies of an error, loses its power, and comes back: it fails once only.
  template <class Attempt>
  void retry(std::size_t node, Attempt attempt) {
    Result<void> done = attempt();
    if (done) return;
    REQUIRE_MESSAGE(disk_.has_happened(), done.error().message);
    machines_[node].cut_power(disk_, rng_);
    done = attempt();
    REQUIRE_MESSAGE(done, done.error().message);
  }

  /// Starts it. The last one to join leads: all that follow are there already.
  Result<void> join(std::size_t node) {
    TRY(machines_[node].start());
    Replica replica = TRY(machines_[node].follow());
    if (node != leader_) {
      replica_.emplace(std::move(replica));
      return {};
    }
    TRY(lead_.begin(machines_[node], std::move(replica)));
    check_recovered();
    return catch_up();
  }

  /// What leads now has all that was acknowledged, and is what the load makes of it.
  void check_recovered() {
    REQUIRE(end().seq >= acknowledged_.seq);
    REQUIRE(machines_[leader_].store().find_end(acknowledged_.seq).value() == acknowledged_);
    Queue queue;
    RowChanges rows;
    std::vector<Effect> effects;
    for (const store::Batch& batch : batches_) {
      if (batch.back().seq > end().seq) break;
      for (const Entry& entry : batch) queue.apply(entry, effects, rows);
      rows.tasks.sort();
    }
    REQUIRE(queue.last_seq() == end().seq);  // Whole batches.
    REQUIRE(Queue::difference(lead_.queue(), queue) == "");
  }

  /// The other one takes back what the leader has not, and gets what it has.
  Result<void> catch_up() {
    if (nodes_ > 1) TRY(bring_follower());
    acknowledged_ = end();
    return {};
  }
  Result<void> bring_follower() {
    store::SqliteStore& leads = machines_[leader_].store();
    std::vector<JournalEnd> ends = machines_[follower()].store().journal_ends();
    while (leads.find_end(ends.back().seq).value() != ends.back()) ends.pop_back();
    const JournalEnd keep = ends.back();
    store::JournalBatches behind = TRY(leads.read_batches(keep, limits::kBatchBytes));
    TRY(replica_->store(keep, std::move(behind.batches)));
    return replica_->commit(end().seq, {});
  }

  Result<void> rejoin() {
    replica_.reset();
    TRY(join(follower()));
    const bool has_all = replica_->last().seq >= acknowledged_.seq;
    REQUIRE(has_all);
    return catch_up();
  }

  /// The node that leads died; alone it comes back, else the other one goes on.
  void lose_leader() {
    REQUIRE(disk_.has_happened());
    machines_[leader_].cut_power(disk_, rng_);
    if (nodes_ == 1) return retry(leader_, [&] { return join(leader_); });
    leader_ = follower();
    const Result<void> begun = lead_.begin(machines_[leader_], std::move(*replica_));
    REQUIRE(begun);
    check_recovered();
    const Result<void> joined = rejoin();
    REQUIRE_MESSAGE(joined, joined.error().message);
  }
  void lose_follower() {
    REQUIRE(disk_.has_happened());
    machines_[follower()].cut_power(disk_, rng_);
    const Result<void> joined = rejoin();
    REQUIRE_MESSAGE(joined, joined.error().message);
  }

  void one_batch(const store::Batch& batch) {
    const SealedBatch sealed = lead_.seal(batch);
    Result<void> stored;
    const auto ship = [&] { stored = replica_->store(replica_->last(), {sealed}); };
    const bool ships_first = rng_.chance(50);
    if (nodes_ > 1 && ships_first) ship();
    const Result<void> led = lead_.append(sealed, batch);
    if (nodes_ > 1 && !ships_first) ship();
    if (!led) return lose_leader();
    if (!stored) return lose_follower();
    acknowledged_ = sealed.end;
    if (rng_.chance(20) && !lead_.flush()) return lose_leader();
    if (nodes_ == 1) return;
    Result<void> taken = replica_->commit(sealed.end.seq, {});
    if (taken && rng_.chance(30)) taken = replica_->bring_up();
    if (!taken) lose_follower();
  }

  /// Of one that did nothing wrong.
  void cut_power() {
    ++cuts_;
    machines_[leader_].cut_power(disk_, rng_);
    const Result<void> joined = join(leader_);
    REQUIRE_MESSAGE(joined, joined.error().message);
  }

  /// Each is stopped and started, the one that follows first.
  void restart() {
    if (nodes_ > 1) {
      replica_.reset();
      const Result<void> closed = machines_[follower()].close();
      if (!closed || !rejoin()) lose_follower();
    }
    const Result<void> closed = machines_[leader_].close();
    if (!closed || !join(leader_)) lose_leader();
  }

  void finish() {
    if (!lead_.flush()) {
      lose_leader();
      REQUIRE(lead_.flush());
    }
    if (nodes_ > 1 && !replica_->bring_up()) {
      lose_follower();
      REQUIRE(replica_->bring_up());
    }
    disk_.call_off();
    rows_ = rows_of(machines_[leader_].dir());
    if (nodes_ == 1) return;
    CHECK(rows_of(machines_[follower()].dir()) == rows_);
    CHECK(machines_[follower()].store().journal_ends().back() == end());
    CHECK_FALSE(replica_->diverged());
  }

  FaultVfs& disk_;
  std::size_t nodes_;
  Rng rng_;
  const Batches& batches_;
  std::array<Machine, 2> machines_;
  std::size_t leader_ = 0;
  Lead lead_;
  std::optional<Replica> replica_;
  JournalEnd acknowledged_;
  bool restarted_ = false;
  unsigned cuts_percent_ = 0;
  std::uint64_t cuts_ = 0;
  std::map<std::string, std::vector<std::string>> rows_;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kStep = 7;  // It takes ten times as long.
#else
constexpr std::uint64_t kStep = 1;
#endif

/// Every fault on one node.
void sweep(std::size_t nodes, std::size_t node, bool is_disk_full) {
  FaultVfs disk;
  const Batches batches = a_load();
  Load calm(disk, nodes, batches);
  calm.run();
  std::uint64_t faults = 0;
  for (const FaultVfs::Op op : FaultVfs::kOps) {
    for (std::uint64_t nth = 1; nth <= calm.count(node, op); nth += kStep) {
      CAPTURE(static_cast<int>(op));
      CAPTURE(nth);
      Load load(disk, nodes, batches);
      load.order(node, {.dir = {}, .op = op, .nth = nth, .is_disk_full = is_disk_full});
      load.run();
      if (!disk.has_happened()) continue;
      ++faults;
      REQUIRE(load.acknowledged() == calm.acknowledged());
      REQUIRE(load.rows() == calm.rows());
    }
  }
  MESSAGE(faults << " faults");
  CHECK(faults > 200 / kStep);
}

TEST_SUITE_BEGIN("master/fault_sweep");

TEST_CASE("a single master: every operation of the disk fails once, then the power is cut") {
  sweep(1, 0, false);
}

TEST_CASE("the same, and the disk is full") {
  sweep(1, 0, true);
}

TEST_CASE("the power is cut at any moment, also behind rows that no fsync has followed") {
  FaultVfs disk;
  const Batches batches = a_load();
  Load calm(disk, 1, batches);
  calm.run();
  std::uint64_t cuts = 0;
  for (std::uint64_t seed = 1; seed <= 40; seed += kStep) {
    CAPTURE(seed);
    Load load(disk, 1, batches, seed);
    load.cut_power_sometimes(30);
    load.run();
    cuts += load.cuts();
    REQUIRE(load.acknowledged() == calm.acknowledged());
    REQUIRE(load.rows() == calm.rows());
  }
  MESSAGE(cuts << " cuts");
  CHECK(cuts > 200 / kStep);
}

TEST_CASE("a pair: every operation of the primary's disk fails once") {
  sweep(2, 0, false);
}

TEST_CASE("a pair: every operation of the standby's disk fails once") {
  sweep(2, 1, false);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
