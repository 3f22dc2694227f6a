// SPDX-License-Identifier: MIT
//
// Both stores behind one face, for the contract suite: a disk that a store can be opened on again
// after a clean end or a crash. And the rows that tests write.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "master/store/entry_codec.h"
#include "master/store/sqlite_store.h"
#include "master/store/sqlite_tables.h"
#include "tests/support/builders.h"
#include "tests/support/memory_store.h"
#include "tests/support/store_writes.h"
#include "tests/support/temp_dir.h"

namespace capstan::test {

class SqliteDisk {
 public:
  store::Opened open(std::uint64_t nonce = 7, const std::optional<Vote>& vote = {}) {
    store::Opened out;
    auto opened = try_open(out, nonce, vote);
    if (!opened) throw std::runtime_error(opened.error().message);
    store_ = std::move(*opened);
    auto tables = store::SqliteTables::open(dir_.path());
    if (!tables) throw std::runtime_error(tables.error().message);
    tables_ = std::move(*tables);
    return out;
  }
  Result<std::unique_ptr<store::SqliteStore>> try_open(store::Opened& out, std::uint64_t nonce,
                                                       const std::optional<Vote>& vote = {}) {
    store::StoreOptions options;
    options.dir = dir_.path();
    options.nonce = nonce;
    options.vote = vote;
    options.cluster = an_id(1);
    options.db_uuid = an_id(2);
    options.generation = {1234, 0xFFFF'FFFF'FFFF'FFFFULL};
    return store::SqliteStore::open(options, out);
  }
  void close() {
    tables_.reset();
    if (auto closed = store_->close(); !closed) throw std::runtime_error(closed.error().message);
    store_.reset();
  }
  /// As kill -9: the files as they are now, and nobody who tidies up behind them.
  void crash() {
    TempDir copy;
    for (const char* name : {"capstan.db", "capstan.db-wal"}) {
      if (std::filesystem::exists(dir_.file(name))) {
        std::filesystem::copy_file(dir_.file(name), copy.file(name));
      }
    }
    tables_.reset();
    store_.reset();
    dir_ = std::move(copy);
  }
  void fill() { static_cast<void>(store_->limit_pages(1)); }
  void free_space() { static_cast<void>(store_->limit_pages(1'000'000)); }
  store::SqliteStore& store() { return *store_; }
  store::Tables& tables() { return *tables_; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }

 private:
  TempDir dir_;
  std::unique_ptr<store::SqliteStore> store_;
  std::unique_ptr<store::SqliteTables> tables_;
};

class MemoryDisk {
 public:
  store::Opened open(std::uint64_t nonce = 7, const std::optional<Vote>& vote = {}) {
    return store_.open(nonce, vote).value();
  }
  void close() { store_.close(); }
  void crash() { store_.crash(); }
  void fill() { store_.fail_next(MemoryStore::Fault::DiskFull); }
  void free_space() { store_.fail_next(MemoryStore::Fault::None); }
  store::Store& store() { return store_; }
  store::Tables& tables() { return store_; }

 private:
  MemoryStore store_;
};

/// Entries with the numbers that follow: an entry says no more than its text.
inline store::Batch a_batch(std::uint64_t first, std::uint64_t last, Epoch epoch = Epoch(257)) {
  store::Batch batch;
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    Entry entry;
    entry.seq = Seq(seq);
    entry.epoch = epoch;
    entry.at = TimePoint{1'000'000'000 + static_cast<std::int64_t>(seq) * 1000};
    entry.wall = WallTime{1'700'000'000'000'000 + static_cast<std::int64_t>(seq)};
    entry.command = cmd::ReignBegan{"entry " + std::to_string(seq)};
    batch.push_back(std::move(entry));
  }
  return batch;
}

inline JobRow a_job_row(std::uint64_t id, const JobSpec& spec, std::string owner = "ann") {
  JobRow row;
  row.id = JobId(id);
  row.owner = std::move(owner);
  row.spec = std::make_shared<const JobSpec>(spec);
  row.tasks = task_count(spec);
  row.counts.ready = row.tasks;
  row.priority = spec.priority;
  row.submitted_at.us = 1'700'000'000'000'000;
  return row;
}

/// Among `rows`, in that state.
inline JobId put_job(RowChanges& rows, std::uint64_t id, std::uint32_t tasks, JobState state) {
  JobRow job = a_job_row(id, a_job().with_tasks(tasks).spec());
  job.state = state;
  return rows.jobs.insert_or_assign(JobId(id), std::move(job)).first->first;
}

inline TaskRow a_running_row(std::uint32_t attempt = 1) {
  TaskRow row;
  row.state = TaskState::Running;
  row.attempt = row.attempts = AttemptNo(attempt);
  row.worker = WorkerId(3);
  row.instance = an_id(33);
  row.assigned_at.us = 1'700'000'000'000'100;
  return row;
}

inline TaskRow an_ended_row(TaskState state, EndClass end, std::uint64_t seq) {
  TaskRow row = a_running_row();
  row.state = state;
  row.round = 2;
  row.failures = 1;
  row.losses = 2;
  row.ready_at.us = 77;
  row.started_at.us = 1'700'000'000'000'200;
  row.finished_at.us = 1'700'000'000'000'300;
  row.ended = true;
  row.end = end;
  row.exit_code = end == EndClass::Exit ? -1 : 0;
  row.signal = end == EndClass::Signal ? 9 : 0;
  row.reason = "because: \xC3\xA4";
  row.wall = Micros(1234567);
  row.cpu = Micros(7654321);
  row.max_rss_bytes = 1ULL << 40;
  row.stdout_bytes = UINT64_MAX;
  row.stderr_bytes = 5;
  row.stdout_tail = Bytes("a\0b\xFF", 4);
  row.stderr_tail = "err\n";
  row.finished_seq = Seq(seq);
  return row;
}

inline AttemptRow an_attempt_row(EndClass end) {
  AttemptRow row;
  row.worker = WorkerId(4);
  row.instance = an_id(44);
  row.round = 3;
  row.assigned_at.us = 1;
  row.started_at.us = 2;
  row.ended_at.us = 3;
  row.end = end;
  row.late = true;
  row.exit_code = 17;
  row.signal = 15;
  row.reason = "lost";
  row.wall = Micros(8);
  row.cpu = Micros(9);
  row.max_rss_bytes = 10;
  row.stdout_bytes = 11;
  row.stderr_bytes = 12;
  row.stdout_tail = Bytes("\0\xFE", 2);
  row.stderr_tail = "tail";
  return row;
}

/// Rows of a database file.
inline std::int64_t count_tasks(const std::string& database) {
  auto connection = store::Connection::open(database, store::Access::ReadOnly);
  return connection ? connection->read_int("SELECT count(*) FROM task_rows").value_or(-1) : -1;
}

template <class Row>
Row without_tails(Row row) {
  row.stdout_tail.clear();
  row.stderr_tail.clear();
  return row;
}

inline bool same(const JobRow& a, const JobRow& b) {
  return a.id == b.id && a.owner == b.owner && *a.spec == *b.spec && a.token == b.token &&
         a.state == b.state && a.paused == b.paused && a.cancelling == b.cancelling &&
         a.tasks == b.tasks && a.counts == b.counts && a.submitted_at == b.submitted_at &&
         a.started_at == b.started_at && a.finished_at == b.finished_at && a.reason == b.reason &&
         a.excluded == b.excluded && a.launched == b.launched && a.mean_wall == b.mean_wall &&
         a.inputs == b.inputs && a.skipping == b.skipping && a.awaits_begin == b.awaits_begin &&
         a.waits_for == b.waits_for && a.priority == b.priority;
}

inline bool same(const Entry& a, const Entry& b) {
  return store::encode_entries({a}) == store::encode_entries({b});
}

}  // namespace capstan::test
