// SPDX-License-Identifier: MIT
//
// The door to the operating system's processes, as the shepherd's shell sees it. process_runner.h
// is the real one. Shepherd thread only.
#pragma once

#include "common/base/error.h"
#include "common/base/ids.h"
#include "worker/core/shepherd.h"

namespace capstan {

class Runner {
 public:
  virtual ~Runner() = default;
  /// The main process runs when this returns. An error: it never ran; the system's words.
  [[nodiscard]] virtual Result<void> start(const shepherd::Launch& launch) = 0;
  /// To the whole process tree. `force`: SIGKILL, else SIGTERM. Unknown keys are ignored.
  virtual void kill(const AttemptKey& key, bool force) = 0;
  /// Tell of the output of this job's attempts as it grows, or not any more.
  virtual void follow(JobId job, bool on) = 0;
};

}  // namespace capstan
