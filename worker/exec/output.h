// SPDX-License-Identifier: MIT
//
// One stream of one attempt: kept in memory while it is short, else in a file of bounded size. The
// file's layout is a pure function of stream offsets, so that the agent reads it while the shepherd
// writes it:
//
//   0   "CAPOUT1\n"
//   8   total bytes of the stream, 64 bit little-endian; raised BEFORE the bytes are written, so
//       that a reader who looks again afterwards knows whether what it read was overwritten
//   16  bytes [0, 1 MiB) of the stream
//   ..  a ring of 15 MiB: byte o of the stream at 16 + 1 MiB + (o - 1 MiB) mod 15 MiB
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/unique_fd.h"
#include "common/model/task.h"

namespace capstan {

/// DIR/JOB/TASK.ATTEMPT.out or .err
std::string output_path(const std::string& dir, const AttemptKey& key, Stream stream);
/// Removes the file, and the job's directory with the last one. Nothing when it is not there.
void drop_output(const std::string& dir, const AttemptKey& key, Stream stream);

class OutputWriter {
 public:
  OutputWriter() = default;
  explicit OutputWriter(std::string path) : path_(std::move(path)) {}

  /// Takes all of it. An error means that the disk refused: from then on only the tail is kept, and
  /// further writes succeed.
  Result<void> write(std::string_view bytes);
  /// From now on every byte is in the file, what is in memory first.
  Result<void> follow();

  [[nodiscard]] std::uint64_t total() const { return total_; }
  [[nodiscard]] bool is_followed() const { return followed_; }
  /// The last bytes, at most kTailBytes: all when the stream is no longer.
  [[nodiscard]] Bytes tail() const;

 private:
  Result<void> spill();
  Result<void> store(std::uint64_t offset, std::string_view bytes);
  Result<void> put(std::uint64_t position, std::string_view bytes);
  Result<void> refuse(const char* doing);

  std::string path_;
  UniqueFd file_;
  std::uint64_t total_ = 0;
  Bytes tail_;  // Everything until it is spilled; at least the last kTailBytes afterwards.
  bool followed_ = false;
  bool broken_ = false;
};

struct OutputSlice {
  std::uint64_t offset = 0;  ///< Larger than asked for when bytes are gone.
  Bytes data;                ///< Empty: nothing is to be had from there on.
};
struct OutputRange {
  std::uint64_t offset = 0;
  std::uint64_t total = 0;  ///< So many bytes of the stream are known to be written.
  bool ended = false;       ///< And never more. While it grows, a reader that fell behind skips
                            ///< half a ring, or it would be overtaken again with every read.
  std::size_t max = 0;      ///< Bytes of one slice.
};
Result<OutputSlice> read_output(const std::string& path, const OutputRange& range);

}  // namespace capstan
