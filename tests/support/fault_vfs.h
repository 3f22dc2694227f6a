// SPDX-License-Identifier: MIT
//
// An SQLite VFS of a disk that fails and of a machine whose power is cut. While one lives it is the
// default: what a store opens, it opens here. It passes everything on to SQLite's own VFS, and
// remembers of each file what is synced and what is only written since.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/rng.h"

struct sqlite3_vfs;

namespace capstan::test {

class FaultVfs {
 public:
  enum class Op : std::uint8_t { Write, Sync, Truncate, Open };
  static constexpr std::array kOps{Op::Write, Op::Sync, Op::Truncate, Op::Open};
  struct Fault {
    std::string dir;  ///< On files in it.
    Op op = Op::Write;
    std::uint64_t nth = 1;      ///< Since it was ordered, from 1; once.
    bool is_disk_full = false;  ///< SQLITE_FULL; else an I/O error.
  };

  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  void order(Fault fault);
  void call_off() { fault_.reset(); }
  /// The one that was ordered last happened.
  [[nodiscard]] bool has_happened() const { return happened_; }
  /// Operations on files of a directory, ever.
  [[nodiscard]] std::uint64_t count(const std::string& dir, Op op) const;

  /// Writes the files of `dir` into `to` as the next start of the machine finds them: what was
  /// synced, and any part of what was written since, each write in whole sectors.
  void cut_power(const std::string& dir, const std::string& to, Rng& rng) const;

 private:
  friend struct FaultVfsCalls;
  struct Change {
    std::uint64_t offset = 0;  ///< A truncation: the new size.
    std::optional<std::string> bytes;
    void apply_to(std::string& content) const;
  };
  struct FileState {
    std::string synced;
    std::vector<Change> since;
  };

  /// Counts it. True: it is the one that fails.
  bool fails(const std::string& path, Op op);
  FileState& state_of(const std::string& path);

  std::unique_ptr<sqlite3_vfs> vfs_;
  sqlite3_vfs* behind_;
  std::map<std::string, FileState> files_;
  std::map<std::pair<std::string, Op>, std::uint64_t> counts_;
  std::optional<Fault> fault_;
  std::uint64_t until_ = 0;
  bool happened_ = false;
};

}  // namespace capstan::test
