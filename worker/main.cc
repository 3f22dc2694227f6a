// SPDX-License-Identifier: MIT
//
// capstan-worker: options to run_shepherd(), or with the hidden --agent to run_agent().
#include <fmt/format.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/config_file.h"
#include "common/base/descriptors.h"
#include "common/base/dirs.h"
#include "common/base/log.h"
#include "common/base/print_error.h"
#include "common/model/parse.h"
#include "common/wire/version.h"
#include "worker/agent_main.h"
#include "worker/exec/cgroup.h"
#include "worker/exec/cpu_claims.h"
#include "worker/shepherd_main.h"

namespace capstan {
namespace {

struct CommandLine {
  WorkerOptions worker;
  bool help = false;
  bool version = false;
};

config::po::options_description describe(CommandLine& line) {
  namespace po = config::po;
  po::options_description options;
  WorkerOptions& worker = line.worker;
  options.add_options()(
      "access", po::value(&worker.access)->value_name("FILE"),
      "The invitation: the worker.access file of a master. Needed once; afterwards the directory "
      "has the worker's own key and this is ignored. Default: that of a master on this machine.")(
      "dir", po::value(&worker.dir)->value_name("DIR"),
      "Where the key, results and output are kept; made when it is missing. Default: "
      "$XDG_STATE_HOME/capstan/HOSTNAME/worker-NAME. Each worker needs its own.")(
      "name", po::value(&worker.name)->value_name("NAME"),
      "What it is called (default: the host's name). When another worker has the name it becomes "
      "NAME-2.")("cpus",
                 config::parsed("cpus", &worker.cpus, config::whole(1U, limits::kCpusPerTask))
                     ->value_name("N"),
                 "So many cpus are given to tasks (default: all that this process may use).")(
      "mem", config::parsed("mem", &worker.mem_bytes, parse_size)->value_name("SIZE"),
      "So much memory is given to tasks that say what they need, such as 12G (default: the "
      "machine's, or that of this process's cgroup).")(
      "no-pin", po::bool_switch(&worker.no_pin),
      "Let tasks run on any cpu. Otherwise each is pinned to as many as it asked for, unless "
      "--cpus "
      "is more than there are or other workers on this machine have them.")(
      "grace", config::parsed("grace", &worker.grace, parse_duration)->value_name("DURATION"),
      "When it is told to stop, running tasks may go on for so long (default 30s).")(
      "kill-grace",
      config::parsed("kill-grace", &worker.kill_grace, parse_duration)->value_name("DURATION"),
      "A task that is to end gets SIGTERM, and SIGKILL after this (default 10s).")(
      "log-format",
      config::parsed("log-format", &worker.log_format, log::parse_format)->value_name("text|json"),
      "How events are written on stderr, one a line (default text).")(
      "log-level",
      config::parsed("log-level", &worker.log_level, log::parse_level)
          ->value_name("debug|info|warn|error"),
      "From which level on (default info); debug has a line for each task.")(
      "null-exec", po::bool_switch(&worker.null_exec),
      "For measuring (scripts/bench): start nothing, report every task as succeeded.")(
      "version", po::bool_switch(&line.version), "Print the version and leave.")(
      "help", po::bool_switch(&line.help), "Print this and leave.");
  return options;
}

config::Page manual() {
  config::Page page;
  page.name = "capstan-worker";
  page.summary = "run the tasks that a master hands out";
  page.synopsis = {"capstan-worker [--access FILE] [OPTIONS]"};
  page.description =
      "Runs in the foreground until SIGTERM or Ctrl-C, logs to stderr, and prints one line when it "
      "is ready. Start as many as you like on a machine, each with a directory of its own.\n\n"
      "It dials out to the master, so a firewall needs no opening here. Tasks run as the account "
      "that runs it: do not run it as root. Results are kept in its directory until the master has "
      "them, also while no master answers. A second SIGTERM ends running tasks at once.\n\n"
      "What is not said here comes from the environment (CAPSTAN_WORKER_CPUS=4), then from the "
      "file DIR/config (cpus = 4, a line for each option, # for comments).";
  page.sections = {
      {"EXIT STATUS",
       " 0   it was told to stop\n"
       " 2   a wrong option, or a file that cannot be read\n"
       " 3   do not start it again as it is: its key is refused, it has none, or another worker\n"
       "     runs in its directory\n"
       " 70  the machine refused something"},
      {"EXAMPLES",
       " capstan-worker\n"
       " capstan-worker --access worker.access --name render7 --cpus 12\n"
       " capstan-worker --dir /var/lib/capstan/worker --grace 10m --log-format json"}};
  return page;
}

int complain(const Error& error) {
  print_error("capstan-worker: {}\n", error.message);
  return error.code == Errc::Invalid ? kExitUsage : kExitFailStop;
}

std::uint32_t usable_cpus() {
  const std::size_t allowed = allowed_cpus().size();
  if (allowed > 0) return static_cast<std::uint32_t>(allowed);
  return static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

/// Our own file by name, so that an upgrade of it restarts the agent as the new one.
std::string program_file() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return "/proc/self/exe";
  return std::string(path, static_cast<std::size_t>(length));
}

/// Becomes a directory's name and a line in lists.
Result<void> check_name(const std::string& name) {
  const bool is_plain = !name.empty() && name.size() <= limits::kNameBytes && is_utf8(name) &&
                        name.find_first_of("/ \t\n") == std::string::npos && name.front() != '.' &&
                        name.front() != '-';
  if (is_plain) return {};
  return fail(Errc::Invalid, "--name " + shell_quoted(printable(name)) +
                                 ": use letters, digits, dots, dashes, at most 255");
}

Result<void> complete(WorkerOptions& worker) {
  if (worker.name.empty()) worker.name = host_name();
  TRY(check_name(worker.name));
  if (worker.cpus == 0) worker.cpus = usable_cpus();
  if (worker.mem_bytes == 0) worker.mem_bytes = usable_memory();
  if (worker.dir.empty()) worker.dir = TRY(default_state_dir("worker-" + worker.name));
  worker.dir = std::filesystem::absolute(worker.dir);  // Tasks have directories of their own.
  worker.program = program_file();
  return {};
}

/// What a burst of results took stays for the next one: to give it back each time costs a page
/// fault for every 4 KiB, when it is taken again.
void keep_heap() {
  ::mallopt(M_TRIM_THRESHOLD, 2 * 1024 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 1024 * 1024);  // With it malloc would not adapt it by itself.
}

int run(const std::vector<std::string>& args, unsigned user_umask) {
  CommandLine line;
  line.worker.user_umask = user_umask;
  const config::po::options_description options = describe(line);
  config::po::options_description all;
  all.add(options).add_options()("agent", config::po::value(&line.worker.cookie))(
      "in-cgroups", config::po::bool_switch(&line.worker.in_cgroups));
  const auto find_dir = [&line]() -> Result<std::string> {
    WorkerOptions& worker = line.worker;
    if (worker.dir.empty()) {
      worker.dir =
          TRY(default_state_dir("worker-" + (worker.name.empty() ? host_name() : worker.name)));
    }
    return worker.dir;
  };
  // An agent gets everything from its shepherd.
  const bool is_agent = std::find(args.begin(), args.end(), "--agent") != args.end();
  const auto parsed = is_agent
                          ? config::parse(all, args)
                          : config::parse_program({options, "CAPSTAN_WORKER_", find_dir}, args);
  if (line.help) {
    fmt::print("{}", config::help_text(manual(), options));
    return 0;
  }
  if (line.version) {
    fmt::print("capstan-worker {}\n", kVersion);
    return 0;
  }
  if (!parsed) return complain(parsed.error());
  log::configure(line.worker.log_level, line.worker.log_format);
  if (const auto completed = complete(line.worker); !completed) return complain(completed.error());
  return is_agent ? run_agent(line.worker) : run_shepherd(line.worker);
}

}  // namespace
}  // namespace capstan

int main(int argc, char** argv) {
  capstan::fill_standard_descriptors();
  capstan::keep_heap();
  const mode_t user_umask = ::umask(077);  // Ours for our files, the user's for tasks.
  return capstan::run(std::vector<std::string>(argv + 1, argv + argc), user_umask);
}
