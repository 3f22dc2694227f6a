// SPDX-License-Identifier: MIT
//
// Two replicas compared by SQLite itself: its session extension records everything that a leader's
// and a follower's connection change, under a walk over all commands. The leader writes the journal
// first and the rows one batch later; the follower opens what was shipped, applies it when it is
// committed, and writes its rows at moments of its own.
#define SQLITE_ENABLE_SESSION
#define SQLITE_ENABLE_PREUPDATE_HOOK
#include <doctest/doctest.h>
#include <sqlite3.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "master/store/row_hash.h"
#include "tests/support/nonsense.h"
#include "tests/unit/master/store/store_fixture.h"

using namespace capstan;
using namespace capstan::test;

namespace {

// --- What a connection changed -------------------------------------------------------------------

std::vector<sqlite3*> opened_connections;

int on_open(sqlite3* db, char** /*error*/, const sqlite3_api_routines* /*api*/) {
  opened_connections.push_back(db);
  return SQLITE_OK;
}

/// For each table its changes, each as text, sorted: their order in a changeset is that of a hash
/// table. Of the journal's rows all but one column: where the tables were when they were written.
using Changes = std::map<std::string, std::vector<std::string>>;

std::string text_of(sqlite3_value* value) {
  if (value == nullptr) return "-";  // Not changed.
  const int type = sqlite3_value_type(value);
  if (type == SQLITE_NULL) return "null";
  const auto* bytes = static_cast<const char*>(sqlite3_value_blob(value));
  const auto size = static_cast<std::size_t>(sqlite3_value_bytes(value));
  return std::to_string(type) + ":" + (bytes == nullptr ? "" : std::string(bytes, size));
}

class Session {
 public:
  explicit Session(sqlite3* db) {
    REQUIRE(sqlite3session_create(db, "main", &session_) == SQLITE_OK);
    REQUIRE(sqlite3session_attach(session_, nullptr) == SQLITE_OK);
  }
  ~Session() { sqlite3session_delete(session_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Changes changes() {
    int size = 0;
    void* bytes = nullptr;
    REQUIRE(sqlite3session_changeset(session_, &size, &bytes) == SQLITE_OK);
    sqlite3_changeset_iter* at = nullptr;
    REQUIRE(sqlite3changeset_start(&at, size, bytes) == SQLITE_OK);
    Changes changes;
    while (sqlite3changeset_next(at) == SQLITE_ROW) {
      const auto [table, change] = read(at);
      changes[table].push_back(change);
    }
    REQUIRE(sqlite3changeset_finalize(at) == SQLITE_OK);
    sqlite3_free(bytes);
    for (auto& [table, list] : changes) std::sort(list.begin(), list.end());
    return changes;
  }

 private:
  static std::pair<std::string, std::string> read(sqlite3_changeset_iter* at) {
    constexpr int kAppliedSeq = 5;
    const char* table = nullptr;
    int columns = 0;
    int kind = 0;
    REQUIRE(sqlite3changeset_op(at, &table, &columns, &kind, nullptr) == SQLITE_OK);
    std::string change = std::to_string(kind);
    for (int i = 0; i < columns; ++i) {
      if (std::string(table) == "journal" && i == kAppliedSeq) continue;
      sqlite3_value* before = nullptr;
      sqlite3_value* after = nullptr;
      if (kind != SQLITE_INSERT) sqlite3changeset_old(at, i, &before);
      if (kind != SQLITE_DELETE) sqlite3changeset_new(at, i, &after);
      change += "|" + text_of(before) + ">" + text_of(after);
    }
    return {table, change};
  }

  sqlite3_session* session_ = nullptr;
};

// --- The replicas --------------------------------------------------------------------------------

class Replica {
 public:
  Replica() {
    opened_connections.clear();
    disk_.open();
    session_ = std::make_unique<Session>(opened_connections.front());
  }

  SealedBatch lead(const store::Batch& batch) {
    RowChanges rows = apply(batch);
    SealedBatch sealed = disk_.store().seal(batch, rows);
    REQUIRE(disk_.store().append(sealed, batch, pending_, pending_upto_).has_value());
    pending_ = std::move(rows);
    pending_upto_ = sealed.end.seq;
    return sealed;
  }
  void follow(const SealedBatch& sealed) {
    auto batch = store::open_batch(disk_.store().journal_ends().back(), sealed);
    REQUIRE(batch.has_value());
    const Seq applied = disk_.store().journal_ends().front().seq;
    REQUIRE(disk_.store().append(sealed, *batch, {}, applied).has_value());
    uncommitted_.emplace_back(sealed, std::move(*batch));
  }
  void commit(Seq upto) {
    while (!uncommitted_.empty() && uncommitted_.front().first.end.seq <= upto) {
      const auto& [sealed, batch] = uncommitted_.front();
      RowChanges rows = apply(batch);
      rows_chain_ = store::hash_rows(rows_chain_, batch, rows);
      REQUIRE(rows_chain_ == sealed.rows_chain);
      if (!rows.archived.empty()) write_rows();
      pending_.merge(std::move(rows));
      pending_upto_ = sealed.end.seq;
      uncommitted_.pop_front();
    }
  }
  void write_rows() {
    REQUIRE(disk_.store().flush(std::exchange(pending_, {}), pending_upto_).has_value());
  }
  [[nodiscard]] const Queue& queue() const { return queue_; }
  [[nodiscard]] std::vector<JournalEnd> ends() { return disk_.store().journal_ends(); }
  Changes changes() { return session_->changes(); }

 private:
  RowChanges apply(const store::Batch& batch) {
    RowChanges rows;
    std::vector<Effect> effects;
    for (const Entry& entry : batch) queue_.apply(entry, effects, rows);
    rows.tasks.sort();
    return rows;
  }

  SqliteDisk disk_;
  std::unique_ptr<Session> session_;  ///< Ends before its connection.
  Queue queue_;
  std::deque<std::pair<SealedBatch, store::Batch>> uncommitted_;
  RowChanges pending_;  ///< Of entries that are in the journal, and not in the tables.
  Seq pending_upto_;
  Digest rows_chain_;
};

/// "" or the first change that one has and the other has not.
std::string difference(const Changes& a, const Changes& b) {
  for (const auto* one : {&a, &b}) {
    const Changes& other = one == &a ? b : a;
    for (const auto& [table, list] : *one) {
      const auto found = other.find(table);
      for (const std::string& change : list) {
        if (found != other.end() &&
            std::binary_search(found->second.begin(), found->second.end(), change))
          continue;
        return std::string(one == &a ? "leader: " : "follower: ") + table + " " + printable(change);
      }
    }
  }
  return "";
}

/// Whether a deleted job has a template until then depends on whether its row was ever written.
void sweep(QueueFixture& f) {
  cmd::DeletionsSwept swept;
  for (const auto& [job, inputs] : f.queue.deletions()) {
    swept.steps.push_back({job, TaskIndex(UINT32_MAX), UINT64_MAX, true});
  }
  f.apply(swept);
}

/// The walk itself leaves none open.
void open_submission(QueueFixture& f) {
  const Asked asked = f.ask();
  const SubmissionId id = f.queue.next_submission();
  f.apply(cmd::SubmissionOpened{asked, id, "", "d", a_job().with_inputs().spec()});
  f.apply(cmd::InputsStaged{asked, id, 0, 0, 2, "xx"});
}

}  // namespace

TEST_SUITE("master/store/changesets") {
  TEST_CASE("a leader's and a follower's tables are the same, change by change") {
    REQUIRE(sqlite3_auto_extension(reinterpret_cast<void (*)()>(on_open)) == SQLITE_OK);
    Changes seen;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
      CAPTURE(seed);
      Nonsense walk(seed);
      for (int step = 0; step < 250; ++step) walk.step();
      sweep(walk.f);
      open_submission(walk.f);
      REQUIRE(walk.f.broken == "");
      Rng rng(seed);
      Replica leader;
      Replica follower;
      for (const store::Batch& batch : cut(walk.f.entries, rng, 30)) {
        const SealedBatch sealed = leader.lead(batch);
        follower.follow(sealed);
        if (rng.chance(60)) follower.commit(sealed.end.seq);
        if (rng.chance(30)) follower.write_rows();
      }
      leader.write_rows();
      follower.commit(leader.ends().back().seq);
      follower.write_rows();
      CHECK(leader.ends() == follower.ends());
      CHECK(Queue::difference(leader.queue(), follower.queue()) == "");
      const Changes changes = leader.changes();
      REQUIRE(difference(changes, follower.changes()) == "");
      for (const auto& [table, list] : changes) {
        seen[table].insert(seen[table].end(), list.begin(), list.end());
      }
    }
    sqlite3_reset_auto_extension();
    for (const char* table : {"meta", "journal", "jobs", "specs", "task_rows", "attempts",
                              "workers", "keys", "requests", "tokens", "submissions", "inputs"}) {
      CAPTURE(std::string(table));
      CHECK(seen[table].size() > 5);
    }
  }
}  // TEST_SUITE
