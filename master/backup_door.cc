// SPDX-License-Identifier: MIT
#include "master/backup_door.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/model/limits.h"
#include "master/store/backup.h"
#include "master/store/files.h"
#include "master/store/sqlite_tables.h"

namespace capstan {
namespace {

constexpr std::string_view kPrefix = "backup-";
constexpr std::string_view kSuffix = ".copy";

/// What makes a cluster's keys: whoever has a backup is the master.
constexpr const char* kCarried[] = {"master.key", "admin.access", "worker.access"};
constexpr std::size_t kKeyFileBytes = 1 << 20;

void remove_left_over(const std::string& dir) {
  std::error_code error;
  std::vector<std::filesystem::path> left;
  for (std::filesystem::directory_iterator it(dir, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(kPrefix) && name.find(kSuffix) != std::string::npos)
      left.push_back(it->path());
  }
  for (const auto& path : left) std::filesystem::remove(path, error);
}

Result<std::vector<store::CarriedFile>> carried_files(const std::string& dir) {
  std::vector<store::CarriedFile> files;
  for (const char* name : kCarried) {
    const std::string path = dir + "/" + name;
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail(Errc::Io, "opening " + path + ": " + errno_text(errno));
    files.push_back({name, TRY(store::read_at(fd.get(), kKeyFileBytes, 0))});
  }
  return files;
}

Result<api::Backups::Made> make_copy(store::BackupAsk ask) {
  ask.files = TRY(carried_files(ask.dir));
  const store::DatabaseCopy copy = TRY(store::make_backup(ask));
  return api::Backups::Made{copy.bytes, copy.digest};
}

}  // namespace

Result<std::unique_ptr<BackupDoor>> BackupDoor::open(const std::string& dir, const Clock& clock,
                                                     std::function<void()> wake) {
  remove_left_over(dir);
  std::unique_ptr<BackupDoor> door(new BackupDoor(dir, clock));
  door->thread_ =
      std::make_unique<api::ReadThread>(TRY(store::SqliteTables::open(dir)), std::move(wake));
  return door;
}

BackupDoor::~BackupDoor() {
  stopping_ = true;
  thread_.reset();
  remove_left_over(dir_);
}

std::string BackupDoor::path_of(const Uuid& id) const {
  return dir_ + "/" + std::string(kPrefix) + id.hex() + std::string(kSuffix);
}

Uuid BackupDoor::make(Done done) {
  const Uuid id = Uuid::random();
  store::BackupAsk ask;
  ask.dir = dir_;
  ask.to = path_of(id);
  ask.at = clock_.wall();
  ask.stop = &stopping_;
  thread_->post([id, ask, done = std::move(done)](store::Tables&) -> api::Reads::Completion {
    return [id, done, made = make_copy(ask)] { done(id, made); };
  });
  return id;
}

void BackupDoor::read(const Uuid& id, std::uint64_t offset,
                      std::function<void(Result<Bytes>)> done) {
  thread_->post([path = path_of(id), offset,
                 done = std::move(done)](store::Tables&) -> api::Reads::Completion {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    Result<Bytes> data = fail(Errc::Io, "opening the copy: " + errno_text(errno));
    if (fd) {
      Result<std::string> read = store::read_at(fd.get(), limits::kMessageBytes, offset);
      if (read)
        data = Bytes(std::move(*read));
      else
        data = tl::unexpected(read.error());
    }
    return [done, data = std::move(data)] { done(data); };
  });
}

void BackupDoor::drop(const Uuid& id) {
  thread_->post([path = path_of(id)](store::Tables&) -> api::Reads::Completion {
    ::unlink(path.c_str());
    return [] {};
  });
}

}  // namespace capstan
