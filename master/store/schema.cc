// SPDX-License-Identifier: MIT
#include "master/store/schema.h"

#include <array>
#include <string>

#include "common/model/limits.h"

namespace capstan::store {
namespace {

// Names of states and classes are text: people ask `select state, count(*) from tasks group by
// state`. Times are µs: `_at_us` since 1970 (UTC) unless a comment says steady. NULL is "none".
// Tails come last in a row, so that a scan does not touch their overflow pages.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster TEXT NOT NULL,
  db_uuid TEXT NOT NULL,
  generation_began_us INTEGER NOT NULL,
  generation_random INTEGER NOT NULL,
  nonce INTEGER NOT NULL,
  clean INTEGER NOT NULL,
  applied_seq INTEGER NOT NULL,
  applied_epoch INTEGER NOT NULL,
  applied_at_us INTEGER NOT NULL,    -- steady: the entries' own "now"
  last_seq INTEGER NOT NULL,
  last_epoch INTEGER NOT NULL,
  journal_chain BLOB NOT NULL,
  journal_bytes INTEGER NOT NULL,    -- ever written
  rows_chain BLOB NOT NULL,
  next_job INTEGER NOT NULL,
  next_submission INTEGER NOT NULL,
  next_worker INTEGER NOT NULL,
  min_copies INTEGER NOT NULL        -- of a pair: 2 forbids the primary to serve alone
) STRICT;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  tasks INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  ready INTEGER NOT NULL,
  running INTEGER NOT NULL,
  backoff INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  cancelling INTEGER NOT NULL,
  skipping INTEGER NOT NULL,
  awaits_begin INTEGER NOT NULL,
  waits_for TEXT NOT NULL,           -- ids of jobs, with commas
  priority INTEGER NOT NULL,
  cpus INTEGER NOT NULL,
  submitted_at_us INTEGER,
  started_at_us INTEGER,
  finished_at_us INTEGER,
  mean_wall_us INTEGER NOT NULL,
  launched INTEGER NOT NULL,
  excluded TEXT NOT NULL,            -- ids of workers, with commas
  inputs INTEGER,                    -- the submission whose chunks they are
  token TEXT NOT NULL,
  reason TEXT NOT NULL,
  command TEXT NOT NULL,             -- for people: printable, cut at 1000 bytes
  cwd TEXT NOT NULL                  -- for people
) STRICT;
CREATE INDEX jobs_by_owner ON jobs (owner, id);
CREATE INDEX jobs_finished ON jobs (finished_at_us, id) WHERE finished_at_us IS NOT NULL;
CREATE INDEX jobs_live ON jobs (id)
  WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'skipped');

CREATE TABLE specs (
  job INTEGER PRIMARY KEY,
  spec BLOB NOT NULL,                -- msgpack: the whole template, written once
  tags TEXT NOT NULL                 -- each with a newline before and behind it, to find it by
) STRICT;

-- The rows of which there are millions: a column less costs a hundredth of the whole way of a task,
-- and so does NOT NULL on five.
CREATE TABLE task_rows (
  id INTEGER PRIMARY KEY,            -- task_id.h: job * 2^31 + task
  state TEXT,
  attempt INTEGER,
  attempts INTEGER,
  worker INTEGER,
  instance BLOB,                     -- while it runs, and of one that was lost
  round INTEGER,
  history TEXT,                      -- JSON of what few have: failures, losses, cancelling,
                                     -- recalled, number_free, ready_at_us (steady); NULL: nothing
  assigned_at_us INTEGER,
  started_at_us INTEGER,
  finished_at_us INTEGER,
  end_class TEXT,                    -- NULL: the attempt has not ended
  exit_code INTEGER,
  signal INTEGER,
  wall_us INTEGER,
  cpu_us INTEGER,
  max_rss_bytes INTEGER,
  stdout_bytes INTEGER,
  stderr_bytes INTEGER,
  finished_seq INTEGER,
  reason TEXT,
  stdout_tail BLOB,
  stderr_tail BLOB
) STRICT;
CREATE INDEX tasks_failed ON task_rows (state) WHERE state = 'failed';

-- As people think of them. The join makes `job = 17` a range of ids.
CREATE VIEW tasks AS
  SELECT j.id AS job, t.id & 2147483647 AS task, t.state AS state, attempt, attempts, worker,
         instance, round, history, assigned_at_us, t.started_at_us AS started_at_us,
         t.finished_at_us AS finished_at_us, end_class, exit_code, signal, wall_us, cpu_us,
         max_rss_bytes, stdout_bytes, stderr_bytes, finished_seq, t.reason AS reason, stdout_tail,
         stderr_tail
    FROM jobs j CROSS JOIN task_rows t
      ON t.id BETWEEN j.id << 31 AND (j.id << 31) + 2147483647;

CREATE TABLE attempts (
  job INTEGER NOT NULL,
  task INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  worker INTEGER,
  instance BLOB,
  round INTEGER NOT NULL,
  assigned_at_us INTEGER,
  started_at_us INTEGER,
  ended_at_us INTEGER,
  end_class TEXT NOT NULL,
  late INTEGER NOT NULL,
  exit_code INTEGER NOT NULL,
  signal INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,
  cpu_us INTEGER NOT NULL,
  max_rss_bytes INTEGER NOT NULL,
  stdout_bytes INTEGER NOT NULL,
  stderr_bytes INTEGER NOT NULL,
  reason TEXT NOT NULL,
  stdout_tail BLOB NOT NULL,
  stderr_tail BLOB NOT NULL,
  PRIMARY KEY (job, task, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  public_key TEXT NOT NULL,
  instance BLOB,
  cpus INTEGER NOT NULL,
  version TEXT NOT NULL,
  address TEXT NOT NULL,
  note TEXT NOT NULL,
  present INTEGER NOT NULL,
  leaving INTEGER NOT NULL,
  disk_full INTEGER NOT NULL,
  joined_at_us INTEGER,
  left_at_us INTEGER,
  left_reason TEXT NOT NULL,
  mem_bytes INTEGER NOT NULL,        -- 0: not known
  drained INTEGER NOT NULL,
  drained_by TEXT NOT NULL,
  drain_reason TEXT NOT NULL,
  removed INTEGER NOT NULL           -- kept for the names in old attempts
) STRICT;

CREATE TABLE keys (
  public_key TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  added_at_us INTEGER,
  added_by TEXT NOT NULL,
  revoked_at_us INTEGER,             -- NULL: valid
  revoked_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
  owner TEXT NOT NULL,
  request BLOB NOT NULL,
  at_us INTEGER NOT NULL,
  steady_at_us INTEGER NOT NULL,
  code INTEGER NOT NULL,             -- 0: done; else the error's number
  reason TEXT NOT NULL,
  jobs TEXT NOT NULL,                -- ids, with commas
  tasks INTEGER NOT NULL,
  submission INTEGER NOT NULL,
  PRIMARY KEY (owner, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (steady_at_us);

CREATE TABLE tokens (
  owner TEXT NOT NULL,
  token TEXT NOT NULL,
  job INTEGER NOT NULL,
  digest BLOB NOT NULL,
  tasks INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  PRIMARY KEY (owner, token)
) STRICT, WITHOUT ROWID;

CREATE TABLE submissions (
  id INTEGER PRIMARY KEY,
  owner TEXT NOT NULL,
  request BLOB NOT NULL,
  token TEXT NOT NULL,
  digest BLOB NOT NULL,
  opened_at_us INTEGER NOT NULL,     -- steady
  parts INTEGER NOT NULL,
  inputs INTEGER NOT NULL,
  spec BLOB NOT NULL
) STRICT;

CREATE TABLE inputs (
  submission INTEGER NOT NULL,
  first INTEGER NOT NULL,            -- ordinal of its first input, from 0
  count INTEGER NOT NULL,
  chunk BLOB NOT NULL,               -- msgpack: an array of bin
  PRIMARY KEY (submission, first)
) STRICT;

CREATE TABLE deletions (
  job INTEGER PRIMARY KEY,           -- deleted, and not swept out of the other tables yet
  inputs INTEGER                     -- the submission whose chunks are its inputs
) STRICT;

CREATE TABLE journal (
  first_seq INTEGER PRIMARY KEY,
  last_seq INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  wall_us INTEGER NOT NULL,          -- of its last entry
  bytes_before INTEGER NOT NULL,     -- of all entries ever written before it
  applied_seq INTEGER NOT NULL,      -- the tables were there when it was written
  chain BLOB NOT NULL,               -- hash of the chain before it and its entries
  rows_chain BLOB NOT NULL,          -- the same over the row changes up to applied_seq
  entries BLOB NOT NULL              -- msgpack
) STRICT;

CREATE VIEW all_attempts AS
  SELECT job, task, attempt, worker, round, assigned_at_us, started_at_us, ended_at_us, end_class,
         late, exit_code, signal, wall_us, cpu_us, max_rss_bytes, reason
    FROM attempts
  UNION ALL
  SELECT job, task, attempt, worker, round, assigned_at_us, started_at_us, finished_at_us,
         end_class, 0, exit_code, signal, wall_us, cpu_us, max_rss_bytes, reason
    FROM tasks WHERE end_class IS NOT NULL OR state = 'running';
)sql";

// Step i makes version i + 1 from version i.
constexpr std::array<const char*, limits::kSchemaVersion> kSteps = {kVersion1};

}  // namespace

Result<void> configure_writer(Connection& connection) {
  // The first two count only before the first table, and must come before WAL. No
  // wal_autocheckpoint here: 0 would remove the hook of Connection::open, which stands in its
  // place. A WAL that grew while somebody read for long is cut to journal_size_limit when it begins
  // anew.
  return connection.exec("PRAGMA page_size=" + std::to_string(kPageBytes) +
                         ";"
                         "PRAGMA auto_vacuum=INCREMENTAL;"
                         "PRAGMA journal_mode=WAL;"
                         "PRAGMA journal_size_limit=" +
                         std::to_string(2 * limits::kWalCheckpointBytes) +
                         ";"
                         "PRAGMA synchronous=FULL;"
                         "PRAGMA secure_delete=OFF;"
                         "PRAGMA cache_size=-16384");
}

Result<std::uint32_t> schema_version(Connection& connection) {
  const std::int64_t application = TRY(connection.read_int("PRAGMA application_id"));
  const std::int64_t version = TRY(connection.read_int("PRAGMA user_version"));
  const std::int64_t tables = TRY(connection.read_int("SELECT count(*) FROM sqlite_schema"));
  if (application == 0 && version == 0 && tables == 0) return 0;
  if (application != kApplicationId) {
    return fail(Errc::Corrupt, "this is an SQLite database of another program");
  }
  if (version > limits::kSchemaVersion) {
    return fail(Errc::TooNew, "its tables have version " + std::to_string(version) +
                                  ", this program knows up to " +
                                  std::to_string(limits::kSchemaVersion) +
                                  ": start the newer capstan-master");
  }
  const bool is_of_before_a_release =
      version == 1 && TRY(connection.read_int("SELECT count(*) FROM sqlite_schema"
                                              " WHERE name = 'task_rows'")) == 0;
  if (is_of_before_a_release) {
    return fail(Errc::Corrupt,
                "it was made by a build from before the first release: go on with "
                "that build, or begin in another directory");
  }
  if (version < 1) return fail(Errc::Corrupt, "its version is " + std::to_string(version));
  return static_cast<std::uint32_t>(version);
}

Result<void> migrate(Connection& connection, std::uint32_t version) {
  for (std::size_t step = version; step < kSteps.size(); ++step) {
    TRY(connection.exec(kSteps.at(step)));
  }
  TRY(connection.exec("PRAGMA application_id=" + std::to_string(kApplicationId)));
  return connection.exec("PRAGMA user_version=" + std::to_string(limits::kSchemaVersion));
}

}  // namespace capstan::store
