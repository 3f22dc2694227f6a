// SPDX-License-Identifier: MIT
#include "worker/exec/null_runner.h"

#include <sys/wait.h>

#include <cerrno>
#include <charconv>

namespace capstan {
namespace {

bool is_to_fail(const shepherd::Launch& launch) {
  const std::vector<Bytes>& command = launch.command();
  if (command.size() != 2 || command[0] != "fail-every") return false;
  const Bytes& text = command[1];
  std::uint32_t every = 0;
  std::from_chars(text.data(), text.data() + text.size(), every);
  return every != 0 && launch.key.task.value % every == 0;
}

}  // namespace

Result<Runner::Started> NullRunner::start(const shepherd::Launch& launch) {
  RunEnd end;
  end.cpu = cpu_of(launch.key.task);
  end.max_rss_bytes = rss_of(launch.key.task);
  if (is_to_fail(launch)) end.exit_code = 1;
  ended_.push_back({launch.key, std::move(end)});
  return Started{};
}

std::vector<Runner::Ended> NullRunner::take_ended() {
  std::vector<Ended> taken;
  taken.reserve(ended_.size());  // As many end next, nearly always.
  taken.swap(ended_);
  return taken;
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
