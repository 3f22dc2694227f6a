// SPDX-License-Identifier: MIT
#include "worker/exec/null_runner.h"

#include <sys/wait.h>

#include <cerrno>

namespace capstan {

Result<void> NullRunner::start(const shepherd::Launch& launch) {
  RunEnd end;
  end.cpu = cpu_of(launch.key.task);
  end.max_rss_bytes = rss_of(launch.key.task);
  ended_.push_back({launch.key, std::move(end)});
  return {};
}

void NullRunner::on_child() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
    on_other_child_(pid, status);
  }
}

}  // namespace capstan
