// SPDX-License-Identifier: MIT
//
// A list of inputs: read from words, a file or standard input, and held packed, so that a million
// of them cost little more than their bytes. Inputs are bytes; one ends at a newline (or a NUL
// byte, when asked for), and nothing else is taken away from it. task_inputs.h makes tasks of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/args.h"
#include "cli/outcome.h"
#include "common/base/bytes.h"

namespace capstan::cli {

/// Values 0..N-1 in order.
class InputList {
 public:
  void add(std::string_view input);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Over all values, their lengths included.
  [[nodiscard]] Digest digest(const Digest& before) const;

  /// A place in the list. REQUIRES: the list outlives it, and gets no further values.
  class Cursor {
   public:
    explicit Cursor(const InputList& list) : list_(&list) {}
    [[nodiscard]] bool is_at_end() const { return chunk_ == list_->chunks_.size(); }
    /// REQUIRES: not at the end.
    [[nodiscard]] std::string_view value() const;
    void advance();
    void seek(std::uint64_t index);

   private:
    const InputList* list_;
    std::size_t chunk_ = 0;
    std::size_t in_chunk_ = 0;
    std::size_t byte_ = 0;
  };

 private:
  struct Chunk {
    std::uint64_t first = 0;
    Bytes bytes;
    std::vector<std::uint32_t> lengths;
  };
  std::vector<Chunk> chunks_;
  std::uint64_t size_ = 0;
};

/// Called with each value, without what ended it; an error ends the reading.
using OnValue = std::function<Outcome<void>(std::string_view)>;
/// The values of a file, `-` being standard input, each ended by `end`. A last one without it
/// counts; `path` must be readable, or exit 2.
Outcome<void> read_values(const std::string& path, char end, const OnValue& on_value);

/// A file whole, `-` being standard input. Exit 2 when it can't be read, or is longer than `most`
/// (`too_long` says what to do then).
Outcome<Bytes> read_file(const std::string& path, std::size_t most, std::string_view too_long);

/// "standard input", or the path for people.
std::string file_name(const std::string& path);

}  // namespace capstan::cli
