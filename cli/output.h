// SPDX-License-Identifier: MIT
//
// Where a verb's data goes: standard output, whole and checked, and what stands in front of the
// lines of tasks that print side by side.
#pragma once

#include <string>
#include <string_view>

#include "cli/outcome.h"

namespace capstan::cli {

/// A descriptor with a buffer. Every byte is written or it is an error; nothing is lost silently at
/// the end, as with stdio. Not owned.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// Buffered; the buffer is written when it is large.
  void write(std::string_view bytes);
  /// Writes what is buffered. Exit 1 with the system's words, also for an earlier write().
  Outcome<void> flush();

 private:
  void drain();
  int fd_;
  int error_ = 0;
  std::string buffer_;
};

/// Cuts one stream of one task into lines and puts a prefix before each. A line that has not ended
/// yet is kept back, so that lines of several tasks are never mixed.
class LinePrefixer {
 public:
  /// "" for none: then bytes pass as they are.
  explicit LinePrefixer(std::string prefix) : prefix_(std::move(prefix)) {}
  /// What can be printed now.
  std::string add(std::string_view bytes);
  /// What is left at the end, with the newline that it lacks.
  std::string finish();

 private:
  std::string prefix_;
  std::string unfinished_;
};

}  // namespace capstan::cli
