// SPDX-License-Identifier: MIT
//
// The inputs of a job: read from words, files or standard input, checked as they are read, and held
// packed in the chunks in which they are sent, so that a million of them cost little more than
// their bytes. Everything is read before anything is sent: the digest of a submission stands in its
// first message. Inputs are bytes; a line ends at a newline, and nothing else is taken away from
// it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/args.h"
#include "cli/outcome.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/model/job.h"

namespace capstan::cli {

/// Refuses an input whose command could not be run. Cheap for all but absurdly long ones: a bound
/// first, the exact rendering only beyond it.
class InputChecker {
 public:
  /// REQUIRES: `spec` outlives it.
  explicit InputChecker(const JobSpec& spec);
  [[nodiscard]] Result<void> check(TaskIndex index, std::string_view input) const;

 private:
  const JobSpec& spec_;
  std::size_t longest_argument_ = 0;
  std::size_t most_placeholders_ = 0;
};

/// Inputs 1..N in order.
class InputList {
 public:
  void add(std::string_view input);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t parts() const { return chunks_.size(); }
  [[nodiscard]] std::vector<Bytes> part(std::uint64_t number) const;
  /// Over all inputs, their lengths included; does not depend on how they are cut into parts.
  [[nodiscard]] Digest digest(const Digest& before) const;

 private:
  struct Chunk {
    Bytes bytes;
    std::vector<std::uint32_t> lengths;
  };
  std::vector<Chunk> chunks_;
  std::uint64_t size_ = 0;
};

/// Called with each line, without its newline; an error ends the reading.
using OnLine = std::function<Outcome<void>(std::string_view)>;
/// The lines of a file, `-` being standard input. A last line without a newline counts; `path` must
/// be readable, or exit 2.
Outcome<void> read_lines(const std::string& path, const OnLine& on_line);

/// What was asked for: `:::` words, `::::` files, or --each-line's file.
struct InputRequest {
  InputSource source = InputSource::None;
  std::vector<Bytes> from;
};
/// Reads and checks them all. Exit 2 with the line's number when one cannot be run.
Outcome<InputList> read_inputs(const InputRequest& request, const InputChecker& checker);

}  // namespace capstan::cli
