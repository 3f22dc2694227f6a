// SPDX-License-Identifier: MIT
//
// A file that a task's output goes to beside the captured log, by the user's --output or --error:
// whole, whatever the log drops. It is written by the shepherd, so it appends: two streams, or two
// tasks, may share one. Shepherd thread only.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/unique_fd.h"

namespace capstan {

/// Where a task's files are, and with which rights they are made.
struct TaskFilePlace {
  Bytes cwd;  ///< Must be there; parents of a file are made.
  mode_t umask = 022;
};

class TaskFile {
 public:
  TaskFile() = default;
  /// Empties the file, or makes it. An error has the system's words.
  static Result<TaskFile> open(const Bytes& path, const TaskFilePlace& place);

  /// Takes all of it. After the first write that fails nothing more is written.
  void write(std::string_view bytes);
  /// No more will come. What went wrong, in words; "" when all of it was written.
  std::string close();

  [[nodiscard]] bool is_open() const { return static_cast<bool>(file_); }

 private:
  void refuse(int error);

  Bytes path_;
  UniqueFd file_;
  std::uint64_t written_ = 0;
  std::string failure_;
};

}  // namespace capstan
