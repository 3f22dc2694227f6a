// SPDX-License-Identifier: MIT
#include "master/restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "common/base/clock.h"
#include "common/base/dirs.h"
#include "common/base/ids.h"
#include "common/base/unique_fd.h"
#include "common/model/parse.h"
#include "master/store/backup.h"
#include "master/store/files.h"
#include "master/store/sqlite_store.h"

namespace capstan {
namespace {

namespace fs = std::filesystem;

Result<void> require_empty(const std::string& dir) {
  std::error_code error;
  if (!fs::exists(dir, error)) return {};
  if (!fs::is_directory(dir, error))
    return fail(Errc::NotAllowed, dir + " is no directory: name one that does not exist yet");
  if (fs::exists(dir + "/master.lock", error)) {
    // Its holder is named, if it lives.
    TRY(DirLock::take(dir + "/master.lock"));
  }
  const bool is_empty = fs::is_empty(dir, error);
  if (error) return fail(Errc::Io, "cannot list " + dir + ": " + error.message());
  if (!is_empty)
    return fail(Errc::NotAllowed,
                dir +
                    " is not empty, and a restore never mixes with what is there: name a "
                    "directory that does not exist yet");
  return {};
}

Result<void> write_file(const std::string& path, const Bytes& bytes) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail(Errc::Io, "making " + path + ": " + errno_text(errno));
  TRY(store::write_at(fd.get(), bytes, 0));
  return store::sync_data(fd.get());
}

Result<void> fill(const std::string& file, const std::string& dir) {
  Generation generation;
  generation.began_us = SystemClock().wall().us;
  generation.random = random_number();
  const auto files =
      TRY(store::restore_database({file, store::database_path(dir), generation, Uuid::random()}));
  for (const store::CarriedFile& one : files) {
    if (one.name.find('/') != std::string::npos)
      return fail(Errc::Corrupt, file + " carries a file with a path for a name");
    TRY(write_file(dir + "/" + one.name, one.bytes));
  }
  return store::sync_dir(dir);
}

}  // namespace

Result<void> restore(const RestoreOptions& options) {
  TRY(store::check_backup(options.file));
  std::string dir = options.dir;
  while (dir.size() > 1 && dir.ends_with('/')) dir.pop_back();
  TRY(require_empty(dir));
  // Beside it and then in its place: it is there whole, or not at all.
  const std::string part = dir + ".restoring";
  std::error_code error;
  fs::remove_all(part, error);
  TRY(prepare_state_dir(part));
  if (Result<void> filled = fill(options.file, part); !filled) {
    fs::remove_all(part, error);
    return filled;
  }
  if (::rename(part.c_str(), dir.c_str()) != 0) {
    const std::string why = errno_text(errno);
    fs::remove_all(part, error);
    return fail(Errc::Io, "making " + dir + ": " + why);
  }
  const std::string above = fs::path(dir).parent_path().string();
  return store::sync_dir(above.empty() ? "." : above);
}

Result<std::string> describe_backup(const std::string& file) {
  const store::BackupFacts facts = TRY(store::check_backup(file));
  return fmt::format("{}: a backup of cluster {}, made {} at entry {}, with {} job{}", file,
                     facts.cluster.hex(), rfc3339(facts.at), facts.seq.value, facts.jobs,
                     facts.jobs == 1 ? "" : "s");
}

}  // namespace capstan
