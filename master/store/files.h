// SPDX-License-Identifier: MIT
//
// The file system under the store: sizes, free space, whole writes, and the ballast that is given
// up when the disk is full.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/unique_fd.h"

namespace capstan::store {

bool exists(const std::string& path);
/// 0 when it does not exist.
std::uint64_t file_bytes(const std::string& path);

/// Makes names in `dir` durable.
Result<void> sync_dir(const std::string& dir);
/// All of `bytes` at `offset`. DiskFull (ENOSPC, EDQUOT) or Io; part of it may be there.
Result<void> write_at(int fd, std::string_view bytes, std::uint64_t offset);
/// Up to `bytes.size()` bytes from `offset`; fewer only at the end of the file.
Result<std::string> read_at(int fd, std::size_t bytes, std::uint64_t offset);
/// fdatasync. What it fails on is not known to be there or not: OutcomeUnknown.
Result<void> sync_data(int fd);

struct Space {
  std::uint64_t free_bytes = 0;  ///< For us.
  std::uint64_t total_bytes = 0;
};
/// Of the disk that `dir` is on. Zeros: it does not say.
Space space_at(const std::string& dir);

/// Creates `path` with `bytes` allocated on the disk, if it is not there. Not an error when there
/// is no room: then there is no ballast.
void make_ballast(const std::string& path, std::uint64_t bytes);

}  // namespace capstan::store
