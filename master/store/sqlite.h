// SPDX-License-Identifier: MIT
//
// SQLite as values: a connection, a prepared statement, errors as Error. The only place that sees
// sqlite3.h is sqlite.cc. One connection belongs to one thread at a time.
//
// What an error means depends on what was being done. In a write, SQLITE_FULL is DiskFull (nothing
// of the transaction stays) and everything else is OutcomeUnknown: a failed COMMIT may have
// happened. In a read, damaged pages are Corrupt and the rest is Io.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.h"

struct sqlite3;
struct sqlite3_context;
struct sqlite3_stmt;

namespace capstan::store {

enum class Access : unsigned char { ReadOnly, ReadWrite };

class Statement;

/// One value that SQLite asked a RowFeed for. Text and blobs are borrowed: they must live until the
/// feed moves on.
class FeedValue {
 public:
  void put(std::int64_t v);
  void put(std::uint64_t v) { put(static_cast<std::int64_t>(v)); }
  void put(std::uint32_t v) { put(static_cast<std::int64_t>(v)); }
  void put(std::int32_t v) { put(static_cast<std::int64_t>(v)); }
  void put(bool v) { put(static_cast<std::int64_t>(v)); }
  void text(std::string_view v);
  void blob(std::string_view v);
  void null();
  /// NULL for 0: "none" reads better than 0 in a table.
  template <class Number>
  void put_or_null(Number v) {
    v == 0 ? null() : put(v);
  }

 private:
  friend struct FeedModule;
  explicit FeedValue(sqlite3_context* context) : context_(context) {}
  sqlite3_context* context_;
};

/// Rows of ours that a statement reads as a table of that name, so that thousands of them are
/// written by one `INSERT … SELECT * FROM name`: binding and stepping each cost more than the row.
class RowFeed {
 public:
  virtual ~RowFeed() = default;
  virtual void rewind() = 0;
  [[nodiscard]] virtual bool at_end() const = 0;
  virtual void next() = 0;
  /// Column `number`, from 0, of the present row.
  virtual void column(int number, FeedValue value) const = 0;
};

class Connection {
 public:
  /// Opens `path`; ReadWrite creates it. A reader also gets query_only.
  static Result<Connection> open(const std::string& path, Access access);

  Connection() = default;
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// Statements without results, as part of a write.
  Result<void> exec(const std::string& sql);
  /// The first column of the first row. NotFound when there is none.
  Result<std::int64_t> read_int(const std::string& sql);
  Result<std::string> read_text(const std::string& sql);
  Result<Statement> prepare(std::string_view sql);
  /// Makes `feed` readable as table `name` on this connection. REQUIRES: it lives as long.
  Result<void> add_feed(const char* name, int columns, RowFeed& feed);

  /// Long statements fail soon when this is set. It outlives the connection.
  void stop_when(const std::atomic<bool>& stop);
  /// From any thread: the statement that runs fails soon, also inside of one long step of it. One
  /// that has not begun yet does not notice.
  void interrupt() const;
  /// Pages in the WAL after the last commit.
  [[nodiscard]] std::uint64_t wal_pages() const;
  /// Rows changed by the last INSERT, UPDATE or DELETE.
  [[nodiscard]] std::int64_t changes() const;
  /// Copies the WAL back as far as readers allow. True: all of it.
  Result<bool> checkpoint_passive();
  /// Undoes the open transaction. OutcomeUnknown when even that fails.
  Result<void> rollback();

 private:
  friend class Statement;
  struct Handle;  ///< On the heap: SQLite keeps a pointer to it.
  explicit Connection(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

/// A read transaction of one connection: what is read inside is one state. Ends with the scope.
class ReadTransaction {
 public:
  static Result<ReadTransaction> begin(Connection& connection);
  ReadTransaction(ReadTransaction&& other) noexcept;
  ReadTransaction& operator=(ReadTransaction&&) = delete;
  ~ReadTransaction();

 private:
  explicit ReadTransaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

/// Prepared once, run often. Bound text and blobs are borrowed: they must live until the statement
/// was run or rewound.
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Parameters, from the first to the last: each call binds the next one.
  Statement& put(std::int64_t v);
  Statement& put(std::uint64_t v) { return put(static_cast<std::int64_t>(v)); }
  Statement& put(std::uint32_t v) { return put(static_cast<std::int64_t>(v)); }
  Statement& put(std::int32_t v) { return put(static_cast<std::int64_t>(v)); }
  Statement& put(bool v) { return put(static_cast<std::int64_t>(v)); }
  Statement& text(std::string_view v);
  Statement& blob(std::string_view v);
  Statement& null();
  /// NULL for 0: "none" reads better than 0 in a table.
  Statement& put_or_null(std::int64_t v) { return v == 0 ? null() : put(v); }
  Statement& put_or_null(std::uint64_t v) { return v == 0 ? null() : put(v); }
  Statement& put_or_null(std::uint32_t v) { return v == 0 ? null() : put(v); }

  /// Runs a write to its end and rewinds.
  Result<void> run();
  /// A read's next row; false at the end. Call rewind() when done (see Rewind).
  Result<bool> next();
  void rewind();

  // Columns of the present row, from the first to the last: each call takes the next one.
  std::int64_t i64();
  std::uint64_t u64() { return static_cast<std::uint64_t>(i64()); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(i64()); }
  std::int32_t i32() { return static_cast<std::int32_t>(i64()); }
  bool flag() { return i64() != 0; }
  /// Text or blob; valid until the next row. "" for NULL.
  std::string_view bytes();
  std::string str() { return std::string(bytes()); }
  bool is_null() const;  ///< The next column is NULL; does not take it.
  void skip() { ++column_; }

 private:
  friend class Connection;
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  Error failure(int code, bool writing);

  sqlite3* db_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int parameter_ = 0;  ///< Bound so far.
  int column_ = 0;     ///< Taken so far.
  int bind_error_ = 0;
};

/// Rewinds a statement at the end of a scope, so that a reader never keeps a snapshot open.
class Rewind {
 public:
  explicit Rewind(Statement& statement) : statement_(statement) {}
  Rewind(const Rewind&) = delete;
  Rewind& operator=(const Rewind&) = delete;
  ~Rewind() { statement_.rewind(); }

 private:
  Statement& statement_;
};

}  // namespace capstan::store
