// SPDX-License-Identifier: MIT
#include "master/store/database_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/blake2b.h"
#include "common/base/unique_fd.h"
#include "master/store/files.h"
#include "master/store/sqlite_store.h"

namespace capstan::store {
namespace {

constexpr std::size_t kPiece = 1 << 20;

/// Hands every piece of a file to `take`, in order.
template <class Take>
Result<void> for_pieces(const std::string& path, Take take) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(Errc::Io, "opening " + path + ": " + errno_text(errno));
  for (std::uint64_t at = 0;; at += kPiece) {
    const std::string piece = TRY(read_at(fd.get(), kPiece, at));
    if (!piece.empty()) TRY(take(piece, at));
    if (piece.size() < kPiece) return {};
  }
}

}  // namespace

Result<void> copy_database(const CopyAsk& ask) {
  Connection source = TRY(Connection::open(database_path(ask.dir), Access::ReadOnly));
  // It writes nothing here, but into the copy.
  TRY(source.exec("PRAGMA query_only=OFF"));
  if (ask.stop != nullptr) source.stop_when(*ask.stop);
  Statement vacuum = TRY(source.prepare("VACUUM INTO ?"));
  TRY(vacuum.text(ask.to).run());
  ::chmod(ask.to.c_str(), 0600);
  return {};
}

void drop_copy(const std::string& path) {
  ::unlink(path.c_str());
  ::unlink((path + "-journal").c_str());
}

Result<DatabaseCopy> measure(const std::string& path) {
  DatabaseCopy copy;
  Blake2b digest;
  TRY(for_pieces(path, [&](const std::string& piece, std::uint64_t) -> Result<void> {
    copy.bytes += piece.size();
    digest.update(piece);
    return {};
  }));
  copy.digest = digest.final();
  return copy;
}

Result<void> copy_file(const std::string& from, const std::string& to) {
  const UniqueFd fd(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail(Errc::Io, "making " + to + ": " + errno_text(errno));
  TRY(for_pieces(from, [&](const std::string& piece, std::uint64_t at) {
    return write_at(fd.get(), piece, at);
  }));
  return sync_data(fd.get());
}

Result<void> check_integrity(Connection& connection) {
  const std::string said = TRY(connection.read_text("PRAGMA integrity_check(1)"));
  if (said != "ok") return fail(Errc::Corrupt, "it is damaged: " + said);
  return {};
}

}  // namespace capstan::store
