// SPDX-License-Identifier: MIT
#include "worker/shepherd_main.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "common/base/dirs.h"
#include "worker/exec/process_tree.h"
#include "worker/identity.h"
#include "worker/shepherd_shell.h"

namespace capstan {

namespace {

int complain(const Error& error) {
  std::fprintf(stderr, "capstan-worker: %s\n", error.message.c_str());
  switch (error.code) {
    case Errc::Invalid:
      return kExitUsage;
    case Errc::Locked:
    case Errc::NotAllowed:
      return kExitRefused;
    default:
      return kExitFailStop;
  }
}

/// What an earlier shepherd of this directory left running, when its agent could not see to it.
void kill_leftovers(const std::string& id) {
  const std::size_t killed = kill_marked(ProcessMark(id));
  if (killed > 0) log::warn("processes.killed", {{"of", "an earlier start"}, {"count", killed}});
}

Result<int> run(const WorkerOptions& options) {
  TRY(prepare_state_dir(options.dir));
  const DirLock lock = TRY(DirLock::take(options.dir + "/lock"));
  const std::string id = TRY(directory_id(options.dir));
  if (::geteuid() == 0) {
    log::warn("worker.runs_as_root",
              {{"reason", "every task runs as root: start it as an account of its own"}});
  }
  kill_leftovers(id);
  const std::string cookie = id + "." + Uuid::random().hex();
  const auto shell = TRY(ShepherdShell::open(options, cookie));
  return shell->run();
}

}  // namespace

int run_shepherd(const WorkerOptions& options) {
  const Result<int> ended = run(options);
  return ended ? *ended : complain(ended.error());
}

}  // namespace capstan
