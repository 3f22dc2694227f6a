// SPDX-License-Identifier: MIT
//
// capstan-master: options to run_master(), errors to exit codes.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/config_file.h"
#include "common/base/descriptors.h"
#include "common/base/dirs.h"
#include "common/base/log.h"
#include "common/model/parse.h"
#include "common/wire/version.h"
#include "master/cluster_file.h"
#include "master/complain.h"
#include "master/daemon.h"
#include "master/init_command.h"
#include "master/restore.h"

namespace capstan {
namespace {

constexpr const char* kDefaultListen = "127.0.0.1:7741";
constexpr Micros kSuspectAfterMin = std::chrono::seconds(1);

struct CommandLine {
  DaemonOptions daemon;
  std::string advertise;
  log::Level log_level = log::Level::Info;
  log::Format log_format = log::Format::Text;
  std::string restore;
  std::string check_backup;
  bool help = false;
  bool version = false;
};

/// A duration, or 0 for ever.
Result<Micros> parse_age(std::string_view text) {
  if (text == "0") return Micros(0);
  return parse_duration(text);
}

/// A size, or 0 for no limit.
Result<std::uint64_t> parse_room(std::string_view text) {
  if (text == "0") return std::uint64_t{0};
  return parse_size(text);
}

config::po::options_description describe(CommandLine& line) {
  namespace po = config::po;
  po::options_description options;
  DaemonOptions& daemon = line.daemon;
  options.add_options()("dir", po::value(&daemon.dir)->value_name("DIR"),
                        "Where the queue and the keys are kept; made when it is missing. Default: "
                        "$XDG_STATE_HOME/capstan/HOSTNAME/master.")(
      "listen", po::value(&daemon.listen)->value_name("HOST:PORT"),
      "Where clients and workers connect (default 127.0.0.1:7741; of a node that init made, its "
      "own "
      "address there). 0.0.0.0:7741 lets other machines in; port 0 takes any free one.")(
      "advertise", po::value(&line.advertise)->value_name("HOST,..."),
      "What the access files tell others to dial, tried in turn. Default: the listen address; "
      "when that is every address, the host's name and its global addresses.")(
      "http", po::value(&daemon.http)->value_name("HOST:PORT"),
      "Serves /healthz and /readyz (default 127.0.0.1:7742).")(
      "suspect-after",
      config::parsed("suspect-after", &daemon.suspect_after, parse_duration)
          ->value_name("DURATION"),
      "A worker that was silent for so long gets no new work (default 10s).")(
      "lost-after",
      config::parsed("lost-after", &daemon.lost_after, parse_duration)->value_name("DURATION"),
      "A worker that was silent for so long is lost: its tasks run again elsewhere (default "
      "30s).")(
      "closed-grace",
      config::parsed("closed-grace", &daemon.closed_grace, parse_duration)->value_name("DURATION"),
      "A worker whose connection closed is lost when it is not back within this (default 5s).")(
      "retain", config::parsed("retain", &daemon.retain, parse_age)->value_name("DURATION"),
      "Finished jobs are deleted so long after their end, with their output (default 30d; 0: "
      "never).")("retain-jobs", po::value(&daemon.retain_jobs)->value_name("N"),
                 "At most so many finished jobs are kept, the newest (default 0: any number).")(
      "retain-size",
      config::parsed("retain-size", &daemon.retain_bytes, parse_room)->value_name("SIZE"),
      "While jobs and their output take more than this, the oldest finished ones are deleted "
      "(default 0: no limit).")(
      "disk-reserve",
      config::parsed("disk-reserve", &daemon.disk_reserve_bytes, parse_size)->value_name("SIZE"),
      "With less than this free on its disk the master takes no submissions (default: 5 % of it, "
      "at most 1 GiB).")(
      "on-alarm", po::value(&daemon.on_alarm)->value_name("CMD"),
      "Run CMD with /bin/sh when an alarm is raised and when it is cleared, one at a time, for at "
      "most a minute each. CAPSTAN_ALARM has its name, CAPSTAN_ALARM_STATE raised or cleared, "
      "CAPSTAN_ALARM_TEXT a sentence, CAPSTAN_NODE this node's name.")(
      "restore", po::value(&line.restore)->value_name("FILE"),
      "Make DIR, which must be missing or empty, of a backup, and leave (capstan restore).")(
      "check-backup", po::value(&line.check_backup)->value_name("FILE"),
      "Open a backup, read all of it, say what it is, and leave.")(
      "log-format",
      config::parsed("log-format", &line.log_format, log::parse_format)->value_name("text|json"),
      "How events are written on stderr, one a line (default text).")(
      "log-level",
      config::parsed("log-level", &line.log_level, log::parse_level)
          ->value_name("debug|info|warn|error"),
      "From which level on (default info).")("version", po::bool_switch(&line.version),
                                             "Print the version and leave.")(
      "help", po::bool_switch(&line.help), "Print this and leave.");
  return options;
}

config::Page manual() {
  config::Page page;
  page.name = "capstan-master";
  page.summary = "keep the job queue and hand its tasks to workers";
  page.synopsis = {"capstan-master [OPTIONS]", "capstan-master init --help"};
  page.description =
      "Runs in the foreground until SIGTERM or Ctrl-C, logs to stderr, and prints one line when "
      "it is ready. What it acknowledged survives a kill -9 at any moment.\n\n"
      "The first start in an empty directory makes the keys. DIR/admin.access is what 'capstan' "
      "needs (on this machine it finds it by itself), DIR/worker.access is the invitation of "
      "workers: copy it to their machines. Whoever has one of these files may come in, so keep "
      "them private.\n\n"
      "'capstan-master init' makes the directories of two masters and a witness, of which each "
      "may fail.\n\n"
      "What is not said here comes from the environment (CAPSTAN_MASTER_LOST_AFTER=2m), then from "
      "the file DIR/config (lost-after = 2m, a line for each option, # for comments).";
  page.sections = {{"EXIT STATUS",
                    " 0   it was told to end\n"
                    " 2   a wrong option, or a directory that is none of a master's\n"
                    " 3   another master has the directory\n"
                    " 70  a write failed or is in doubt, or the machine refused something"},
                   {"EXAMPLES",
                    " capstan-master\n"
                    " capstan-master --listen 0.0.0.0:7741 --advertise node7.example.org\n"
                    " capstan-master --dir /var/lib/capstan --lost-after 2m --log-format json"}};
  return page;
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

Result<void> check(const DaemonOptions& daemon) {
  if (daemon.suspect_after > daemon.lost_after)
    return fail(Errc::Invalid,
                "--suspect-after is more than --lost-after: a worker would be lost "
                "before it is suspect");
  if (daemon.suspect_after < kSuspectAfterMin)
    return fail(Errc::Invalid, "--suspect-after must be at least " +
                                   duration_text(kSuspectAfterMin) +
                                   ": a busy machine is silent for a moment");
  return {};
}

/// What is done with a backup instead of serving. None: nothing was asked.
std::optional<int> run_backup_command(const CommandLine& line) {
  if (!line.check_backup.empty()) {
    const auto text = describe_backup(line.check_backup);
    if (!text) return complain(text.error());
    fmt::print("{}\n", *text);
    return 0;
  }
  if (line.restore.empty()) return std::nullopt;
  if (line.daemon.dir.empty())
    return complain({Errc::Invalid, "--restore needs --dir: the directory to make"});
  const auto restored = restore({line.restore, line.daemon.dir});
  return restored ? 0 : complain(restored.error());
}

/// What is there must be a directory, before anything in it is read.
Result<void> check_dir(const std::string& dir) {
  struct stat status {};
  if (::stat(dir.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) return {};
  return fail(Errc::Invalid, dir +
                                 " is a file, and --dir names a directory; of a backup "
                                 "'capstan restore FILE DIR' makes one");
}

int run(const std::vector<std::string>& args) {
  if (!args.empty() && args.front() == "init") return run_init({args.begin() + 1, args.end()});
  CommandLine line;
  const config::po::options_description options = describe(line);
  const auto find_dir = [&line]() -> Result<std::string> {
    if (line.daemon.dir.empty()) line.daemon.dir = TRY(default_state_dir("master"));
    return line.daemon.dir;
  };
  const auto parsed = config::parse_program({options, "CAPSTAN_MASTER_", find_dir}, args);
  if (line.help) {
    fmt::print("{}", config::help_text(manual(), options));
    return 0;
  }
  if (line.version) {
    fmt::print("capstan-master {}\n", kVersion);
    return 0;
  }
  if (!parsed) return complain(parsed.error());
  log::configure(line.log_level, line.log_format);
  if (const auto done = run_backup_command(line)) return *done;
  if (const auto valid = check_dir(line.daemon.dir); !valid) return complain(valid.error());
  line.daemon.advertise = split_commas(line.advertise);
  if (line.daemon.listen.empty()) {
    const auto listen = default_listen(line.daemon.dir, kDefaultListen);
    if (!listen) return complain(listen.error());
    line.daemon.listen = *listen;
  }
  if (const auto valid = check(line.daemon); !valid) return complain(valid.error());
  if (const auto ended = run_master(line.daemon); !ended) return complain(ended.error());
  return 0;
}

}  // namespace
}  // namespace capstan

// Read by jemalloc: what a burst needed goes back within a second, and few threads need few arenas.
extern "C" {
const char* malloc_conf = "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0";  // NOLINT
}

int main(int argc, char** argv) {
  capstan::fill_standard_descriptors();
  ::umask(077);  // Keys, the queue and its output are nobody else's.
  return capstan::run(std::vector<std::string>(argv + 1, argv + argc));
}
