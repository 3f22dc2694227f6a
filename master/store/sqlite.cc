// SPDX-License-Identifier: MIT
#include "master/store/sqlite.h"

#include <sqlite3.h>

#include <string>
#include <utility>

#include "common/base/check.h"

namespace capstan::store {
namespace {

// A reader and the writer never block each other in WAL mode; this covers recovery at the opening.
constexpr int kBusyMs = 5000;

Errc error_code(int code, bool writing) {
  const int primary = code & 0xff;
  if (primary == SQLITE_FULL) return Errc::DiskFull;
  if (writing) return Errc::OutcomeUnknown;
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) return Errc::Corrupt;
  return Errc::Io;
}

Error describe(sqlite3* db, int code, bool writing) {
  std::string what = writing ? "writing the database: " : "reading the database: ";
  what += db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  if (db != nullptr && sqlite3_system_errno(db) != 0 && (code & 0xff) != SQLITE_CONSTRAINT) {
    what += " (" + errno_text(sqlite3_system_errno(db)) + ")";
  }
  return Error{error_code(code, writing), std::move(what)};
}

}  // namespace

struct Connection::Handle {
  sqlite3* db = nullptr;
  std::uint64_t wal_pages = 0;
  ~Handle() { sqlite3_close_v2(db); }

  static int on_commit(void* self, sqlite3* /*db*/, const char* /*name*/, int pages) {
    static_cast<Handle*>(self)->wal_pages = static_cast<std::uint64_t>(pages);
    return SQLITE_OK;
  }
};

Connection::Connection(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::open(const std::string& path, Access access) {
  const bool writer = access == Access::ReadWrite;
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
  auto handle = std::make_unique<Handle>();
  const int code = sqlite3_open_v2(path.c_str(), &handle->db, flags, nullptr);
  if (code != SQLITE_OK) {
    Error error = describe(handle->db, code, false);
    return fail(std::move(error), "opening " + path);
  }
  sqlite3_busy_timeout(handle->db, kBusyMs);
  sqlite3_wal_hook(handle->db, &Handle::on_commit, handle.get());  // And no automatic checkpoints.
  Connection connection(std::move(handle));
  TRY(connection.exec(writer ? "PRAGMA foreign_keys=ON" : "PRAGMA query_only=ON"));
  TRY(
      connection.exec("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
                      "PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY"));
  return connection;
}

Result<void> Connection::exec(const std::string& sql) {
  const int code = sqlite3_exec(handle_->db, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(describe(handle_->db, code, true));
  return {};
}

Result<std::int64_t> Connection::read_int(const std::string& sql) {
  Statement statement = TRY(prepare(sql));
  if (!TRY(statement.next())) return fail(Errc::NotFound, "no row for " + sql);
  return statement.i64();
}

Result<std::string> Connection::read_text(const std::string& sql) {
  Statement statement = TRY(prepare(sql));
  if (!TRY(statement.next())) return fail(Errc::NotFound, "no row for " + sql);
  return statement.str();
}

Result<Statement> Connection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_->db, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(describe(handle_->db, code, false));
  return Statement(handle_->db, statement);
}

std::uint64_t Connection::wal_pages() const {
  return handle_->wal_pages;
}

std::int64_t Connection::changes() const {
  return sqlite3_changes64(handle_->db);
}

void Connection::stop_when(const std::atomic<bool>& stop) {
  constexpr int kEvery = 10'000;  // Instructions of SQLite's machine: below a millisecond.
  const auto ask = [](void* flag) {
    return static_cast<const std::atomic<bool>*>(flag)->load() ? 1 : 0;
  };
  sqlite3_progress_handler(handle_->db, kEvery, ask, const_cast<std::atomic<bool>*>(&stop));
}

void Connection::interrupt() const {
  sqlite3_interrupt(handle_->db);
}

Result<bool> Connection::checkpoint_passive() {
  int frames = 0;
  int copied = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(handle_->db, nullptr, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
    return tl::unexpected(describe(handle_->db, code, true));
  }
  return code == SQLITE_OK && frames == copied;
}

Result<void> Connection::rollback() {
  if (sqlite3_get_autocommit(handle_->db) != 0) return {};  // SQLite did it by itself.
  return exec("ROLLBACK");
}

Result<ReadTransaction> ReadTransaction::begin(Connection& connection) {
  Result<void> begun = connection.exec("BEGIN");
  if (!begun) return fail(Errc::Io, begun.error().message);
  return ReadTransaction(connection);
}

ReadTransaction::ReadTransaction(ReadTransaction&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)) {}

ReadTransaction::~ReadTransaction() {
  if (connection_ != nullptr) static_cast<void>(connection_->rollback());
}

// --- Feeds: a virtual table without a schema of its own ------------------------------------------

void FeedValue::put(std::int64_t v) {
  sqlite3_result_int64(context_, v);
}
void FeedValue::text(std::string_view v) {
  const char* bytes = v.data() != nullptr ? v.data() : "";
  sqlite3_result_text64(context_, bytes, v.size(), SQLITE_STATIC, SQLITE_UTF8);
}
void FeedValue::blob(std::string_view v) {
  const char* bytes = v.data() != nullptr ? v.data() : "";
  sqlite3_result_blob64(context_, bytes, v.size(), SQLITE_STATIC);
}
void FeedValue::null() {
  sqlite3_result_null(context_);
}

/// What sqlite3_create_module is told. A table points at its feed, a cursor at its table; there is
/// one cursor at a time, since a feed has one position.
struct FeedModule {
  struct Source {
    RowFeed* feed;
    int columns;
  };
  struct Table {
    sqlite3_vtab base;
    RowFeed* feed;
  };
  static RowFeed& feed_of(sqlite3_vtab_cursor* cursor) {
    return *reinterpret_cast<Table*>(cursor->pVtab)->feed;
  }
  static int connect(sqlite3* db, void* aux, int /*count*/, const char* const* /*words*/,
                     sqlite3_vtab** out, char** /*error*/) {
    const Source& source = *static_cast<Source*>(aux);
    std::string schema = "CREATE TABLE feed (c0";
    for (int i = 1; i < source.columns; ++i) schema += ", c" + std::to_string(i);
    const int code = sqlite3_declare_vtab(db, (schema + ")").c_str());
    if (code != SQLITE_OK) return code;
    auto* table = new Table{{}, source.feed};
    *out = &table->base;
    return SQLITE_OK;
  }
  static int disconnect(sqlite3_vtab* table) {
    delete reinterpret_cast<Table*>(table);
    return SQLITE_OK;
  }
  static int best_index(sqlite3_vtab* /*table*/, sqlite3_index_info* /*plan*/) { return SQLITE_OK; }
  static int open(sqlite3_vtab* /*table*/, sqlite3_vtab_cursor** out) {
    *out = new sqlite3_vtab_cursor{};
    return SQLITE_OK;
  }
  static int close(sqlite3_vtab_cursor* cursor) {
    delete cursor;
    return SQLITE_OK;
  }
  static int filter(sqlite3_vtab_cursor* cursor, int /*index*/, const char* /*name*/, int /*count*/,
                    sqlite3_value** /*values*/) {
    feed_of(cursor).rewind();
    return SQLITE_OK;
  }
  static int next(sqlite3_vtab_cursor* cursor) {
    feed_of(cursor).next();
    return SQLITE_OK;
  }
  static int at_end(sqlite3_vtab_cursor* cursor) { return feed_of(cursor).at_end() ? 1 : 0; }
  static int column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int number) {
    feed_of(cursor).column(number, FeedValue(context));
    return SQLITE_OK;
  }
  static int row_id(sqlite3_vtab_cursor* /*cursor*/, sqlite3_int64* id) {
    *id = 0;
    return SQLITE_OK;
  }
};

Result<void> Connection::add_feed(const char* name, int columns, RowFeed& feed) {
  static const sqlite3_module kModule = [] {
    sqlite3_module module{};
    module.xConnect = FeedModule::connect;  // Without xCreate it can only be read, by its name.
    module.xDisconnect = FeedModule::disconnect;
    module.xBestIndex = FeedModule::best_index;
    module.xOpen = FeedModule::open;
    module.xClose = FeedModule::close;
    module.xFilter = FeedModule::filter;
    module.xNext = FeedModule::next;
    module.xEof = FeedModule::at_end;
    module.xColumn = FeedModule::column;
    module.xRowid = FeedModule::row_id;
    return module;
  }();
  const int code =
      sqlite3_create_module_v2(handle_->db, name, &kModule, new FeedModule::Source{&feed, columns},
                               [](void* aux) { delete static_cast<FeedModule::Source*>(aux); });
  if (code != SQLITE_OK) return tl::unexpected(describe(handle_->db, code, false));
  return {};
}

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_),
      statement_(std::exchange(other.statement_, nullptr)),
      parameter_(other.parameter_),
      column_(other.column_),
      bind_error_(other.bind_error_) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(statement_, other.statement_);
  std::swap(parameter_, other.parameter_);
  std::swap(column_, other.column_);
  std::swap(bind_error_, other.bind_error_);
  return *this;
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

Statement& Statement::put(std::int64_t v) {
  const int code = sqlite3_bind_int64(statement_, ++parameter_, v);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::text(std::string_view v) {
  const char* bytes = v.data() != nullptr ? v.data() : "";
  const int code =
      sqlite3_bind_text64(statement_, ++parameter_, bytes, v.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::blob(std::string_view v) {
  const char* bytes = v.data() != nullptr ? v.data() : "";  // A null pointer would be NULL.
  const int code = sqlite3_bind_blob64(statement_, ++parameter_, bytes, v.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::null() {
  const int code = sqlite3_bind_null(statement_, ++parameter_);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Error Statement::failure(int code, bool writing) {
  Error error = describe(db_, code, writing);
  rewind();
  return error;
}

Result<void> Statement::run() {
  if (bind_error_ != SQLITE_OK) return tl::unexpected(failure(bind_error_, true));
  CHECK(parameter_ == sqlite3_bind_parameter_count(statement_));
  int code = sqlite3_step(statement_);
  while (code == SQLITE_ROW) code = sqlite3_step(statement_);
  if (code != SQLITE_DONE) return tl::unexpected(failure(code, true));
  rewind();
  return {};
}

Result<bool> Statement::next() {
  if (bind_error_ != SQLITE_OK) return tl::unexpected(failure(bind_error_, false));
  CHECK(parameter_ == sqlite3_bind_parameter_count(statement_));
  column_ = 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) return tl::unexpected(failure(code, false));
  return false;
}

void Statement::rewind() {
  sqlite3_reset(statement_);
  parameter_ = column_ = bind_error_ = 0;
}

std::int64_t Statement::i64() {
  return sqlite3_column_int64(statement_, column_++);
}

std::string_view Statement::bytes() {
  const int column = column_++;
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

bool Statement::is_null() const {
  return sqlite3_column_type(statement_, column_) == SQLITE_NULL;
}

}  // namespace capstan::store
