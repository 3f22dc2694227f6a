// SPDX-License-Identifier: MIT
#include "tests/support/fault_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <new>
#include <stdexcept>

#include "tests/support/files.h"

namespace capstan::test {

namespace {

constexpr std::uint64_t kSectorBytes = 512;

/// Lies in memory before the file of the VFS behind.
struct File {
  sqlite3_file base;
  FaultVfs* owner;
  std::string* path;  // Ours, until xClose; null: a temporary file, which no power cut leaves.
};

sqlite3_file* behind(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
}

std::string dir_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

/// The functions that SQLite calls.
struct FaultVfsCalls {
  static FaultVfs& owner(sqlite3_vfs* vfs) { return *static_cast<FaultVfs*>(vfs->pAppData); }

  static bool fails(sqlite3_file* file, FaultVfs::Op op) {
    const File& ours = *reinterpret_cast<File*>(file);
    return ours.path != nullptr && ours.owner->fails(*ours.path, op);
  }
  static FaultVfs::FileState* state(sqlite3_file* file) {
    const File& ours = *reinterpret_cast<File*>(file);
    return ours.path == nullptr ? nullptr : &ours.owner->state_of(*ours.path);
  }
  static int error(sqlite3_file* file, int otherwise) {
    return reinterpret_cast<File*>(file)->owner->fault_->is_disk_full ? SQLITE_FULL : otherwise;
  }

  static int close(sqlite3_file* file) {
    const int result = behind(file)->pMethods->xClose(behind(file));
    delete reinterpret_cast<File*>(file)->path;
    return result;
  }
  static int read(sqlite3_file* file, void* data, int size, sqlite3_int64 at) {
    return behind(file)->pMethods->xRead(behind(file), data, size, at);
  }
  /// One that fails has written its first half.
  static int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
    const bool is_failing = fails(file, FaultVfs::Op::Write);
    const int written = is_failing ? size / 2 : size;
    if (FaultVfs::FileState* state = FaultVfsCalls::state(file)) {
      const std::string bytes(static_cast<const char*>(data), static_cast<std::size_t>(written));
      state->since.push_back({static_cast<std::uint64_t>(at), bytes});
    }
    const int result = behind(file)->pMethods->xWrite(behind(file), data, written, at);
    return is_failing ? error(file, SQLITE_IOERR_WRITE) : result;
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    if (fails(file, FaultVfs::Op::Truncate)) return error(file, SQLITE_IOERR_TRUNCATE);
    if (FaultVfs::FileState* state = FaultVfsCalls::state(file))
      state->since.push_back({static_cast<std::uint64_t>(size), std::nullopt});
    return behind(file)->pMethods->xTruncate(behind(file), size);
  }
  /// The disk itself need not be waited for.
  static int sync(sqlite3_file* file, int /*flags*/) {
    if (fails(file, FaultVfs::Op::Sync)) return error(file, SQLITE_IOERR_FSYNC);
    FaultVfs::FileState* state = FaultVfsCalls::state(file);
    if (state == nullptr) return SQLITE_OK;
    for (const FaultVfs::Change& change : state->since) change.apply_to(state->synced);
    state->since.clear();
    return SQLITE_OK;
  }
  static int file_size(sqlite3_file* file, sqlite3_int64* size) {
    return behind(file)->pMethods->xFileSize(behind(file), size);
  }
  static int lock(sqlite3_file* file, int level) {
    return behind(file)->pMethods->xLock(behind(file), level);
  }
  static int unlock(sqlite3_file* file, int level) {
    return behind(file)->pMethods->xUnlock(behind(file), level);
  }
  static int is_reserved(sqlite3_file* file, int* answer) {
    return behind(file)->pMethods->xCheckReservedLock(behind(file), answer);
  }
  static int control(sqlite3_file* file, int what, void* data) {
    return behind(file)->pMethods->xFileControl(behind(file), what, data);
  }
  static int sector_size(sqlite3_file* file) {
    return behind(file)->pMethods->xSectorSize(behind(file));
  }
  static int characteristics(sqlite3_file* file) {
    return behind(file)->pMethods->xDeviceCharacteristics(behind(file));
  }
  static int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** at) {
    return behind(file)->pMethods->xShmMap(behind(file), page, size, extend, at);
  }
  static int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
    return behind(file)->pMethods->xShmLock(behind(file), offset, count, flags);
  }
  static void shm_barrier(sqlite3_file* file) { behind(file)->pMethods->xShmBarrier(behind(file)); }
  static int shm_unmap(sqlite3_file* file, int is_last) {
    return behind(file)->pMethods->xShmUnmap(behind(file), is_last);
  }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* given) {
    static const sqlite3_io_methods kMethods{2,
                                             close,
                                             read,
                                             write,
                                             truncate,
                                             sync,
                                             file_size,
                                             lock,
                                             unlock,
                                             is_reserved,
                                             control,
                                             sector_size,
                                             characteristics,
                                             shm_map,
                                             shm_lock,
                                             shm_barrier,
                                             shm_unmap,
                                             nullptr,
                                             nullptr};
    FaultVfs& vfs_owner = owner(vfs);
    file->pMethods = nullptr;
    if (name != nullptr && vfs_owner.fails(name, FaultVfs::Op::Open)) return SQLITE_CANTOPEN;
    if (name != nullptr) vfs_owner.state_of(name);  // As it is before anything is written to it.
    File& ours =
        *new (file) File{{}, &vfs_owner, name == nullptr ? nullptr : new std::string(name)};
    const int result =
        vfs_owner.behind_->xOpen(vfs_owner.behind_, name, behind(file), flags, given);
    if (result == SQLITE_OK) {
      ours.base.pMethods = &kMethods;
    } else {
      delete ours.path;
    }
    return result;
  }
  static int remove(sqlite3_vfs* vfs, const char* name, int sync_dir) {
    owner(vfs).files_.erase(name);
    return owner(vfs).behind_->xDelete(owner(vfs).behind_, name, sync_dir);
  }
};

FaultVfs::FaultVfs() : behind_(sqlite3_vfs_find(nullptr)) {
  vfs_ = std::make_unique<sqlite3_vfs>(*behind_);  // All that is not said here is its own.
  vfs_->szOsFile = static_cast<int>(sizeof(File)) + behind_->szOsFile;
  vfs_->pNext = nullptr;
  vfs_->zName = "faults";
  vfs_->pAppData = this;
  vfs_->xOpen = FaultVfsCalls::open;
  vfs_->xDelete = FaultVfsCalls::remove;
  if (sqlite3_vfs_register(vfs_.get(), 1) != SQLITE_OK) throw std::runtime_error("no VFS");
}

FaultVfs::~FaultVfs() {
  sqlite3_vfs_unregister(vfs_.get());
  sqlite3_vfs_register(behind_, 1);
}

void FaultVfs::Change::apply_to(std::string& content) const {
  if (!bytes) return content.resize(offset, '\0');
  content.resize(std::max<std::size_t>(content.size(), offset + bytes->size()), '\0');
  content.replace(offset, bytes->size(), *bytes);
}

void FaultVfs::order(Fault fault) {
  until_ = fault.nth;
  happened_ = false;
  fault_ = std::move(fault);
}

std::uint64_t FaultVfs::count(const std::string& dir, Op op) const {
  const auto it = counts_.find({dir, op});
  return it == counts_.end() ? 0 : it->second;
}

bool FaultVfs::fails(const std::string& path, Op op) {
  const std::string dir = dir_of(path);
  ++counts_[{dir, op}];
  if (!fault_ || happened_ || fault_->op != op || fault_->dir != dir || --until_ > 0) return false;
  happened_ = true;
  return true;
}

FaultVfs::FileState& FaultVfs::state_of(const std::string& path) {
  const auto [it, is_new] = files_.try_emplace(path);
  if (is_new) it->second.synced = text_of(path);
  return it->second;
}

void FaultVfs::cut_power(const std::string& dir, const std::string& to, Rng& rng) const {
  for (const auto& [path, state] : files_) {
    if (dir_of(path) != dir || path.ends_with("-shm")) continue;
    std::string content = state.synced;
    for (Change change : state.since) {
      if (rng.chance(50)) continue;
      if (change.bytes && rng.chance(25))
        change.bytes->resize(rng.below(change.bytes->size() + 1) / kSectorBytes * kSectorBytes);
      change.apply_to(content);
    }
    std::ofstream(to + path.substr(dir.size()), std::ios::binary) << content;
  }
}

}  // namespace capstan::test
