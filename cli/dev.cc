// SPDX-License-Identifier: MIT
#include "cli/dev.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "cli/access_lookup.h"
#include "cli/dev_cluster.h"
#include "cli/dev_control.h"
#include "cli/interrupts.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"

namespace capstan::cli {
namespace {

constexpr std::uint32_t kWorkersMax = 256;
constexpr std::uint32_t kMastersMax = 2;

std::uint32_t cpus_here() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::uint32_t>(std::max(CPU_COUNT(&set), 1));
}

class DevVerb final : public Verb {
 public:
  DevVerb()
      : Verb("dev", "run a throw-away cluster on this machine",
             {"ACTION [NODE]", 0, 2, Shape::Command::BehindDashes, false}) {
    page_.synopsis = {"capstan dev [OPTIONS] [-- COMMAND [ARGUMENT...]]", "capstan dev ps [--json]",
                      "capstan dev kill|stop|continue|start NODE"};
    page_.description =
        "Starts a master and workers on free ports of this machine and, when all of them are up, "
        "prints the line that makes other terminals find them:\n\n"
        "  export CAPSTAN_ACCESS=/tmp/capstan-dev-x2Yp4a/master/admin.access\n\n"
        "It runs until Ctrl-C, or with a COMMAND until that ends; the command finds the cluster "
        "and this capstan in its environment, and its exit code becomes ours (then the line "
        "is printed on stderr). When it ends everything ends with it, tasks included, and its "
        "directory is removed unless --dir names one.\n\n"
        "--masters 2 starts two masters, a and b, and their witness w: kill the one that leads "
        "(capstan cluster says which) and watch the other one go on.\n\n"
        "From another terminal, kill ends a node's process by SIGKILL, stop and continue send "
        "SIGSTOP and SIGCONT, start starts a node that is dead; each returns when it is so. Nodes "
        "are master (of two: a, b and w), w1, w2 ... and w1.agent, the part of a worker that talks "
        "to the master, "
        "which can only be killed: its worker starts it again. kill w1 kills the worker's shepherd "
        "alone; stop w1 stops its agent with it, as when a machine hangs, while its tasks go on. "
        "Nothing else is restarted by itself. What nodes print is in NODE.log in the directory.";
    add_options();
    set_examples(
        "  capstan dev\n"
        "  capstan dev -- capstan run -- echo {} ::: hello world\n"
        "  capstan dev --workers 3 --cpus 1 --dir /tmp/try -- bash\n"
        "  capstan dev kill w1 && capstan workers\n"
        "  capstan dev --masters 2 --workers 3\n"
        "  capstan dev kill a; capstan cluster; capstan dev start a\n");
    set_exits(
        "  0    done; with COMMAND: its exit code (128 + the signal that ended it)\n"
        "  1    a node could not be started\n"
        "  2    the command line cannot be meant\n"
        "  3    no such node, or it is not in that state; the directory is in use\n"
        "  75   no capstan dev runs there\n"
        "  130  ended by Ctrl-C\n");
  }

  Outcome<int> run(const Words& words) override {
    if (!words.positionals.empty()) return steer(words);
    DevCluster::Options options;
    options.masters = words.has("masters") ? masters_ : 0;
    options.workers = workers_;
    options.cpus = words.has("cpus") ? cpus_ : std::max(1U, cpus_here() / std::max(1U, workers_));
    options.dir = dir_;
    options.timeout = common_.timeout;
    for (const char* name : {"suspect-after", "lost-after", "closed-grace"}) {
      pass_on(words, name, options.master_args);
    }
    for (const char* name : {"grace", "kill-grace"}) pass_on(words, name, options.worker_args);
    net::EventLoop loop;
    Interrupts interrupts;
    TRY(interrupts.install(loop));
    DevCluster cluster(loop, interrupts, std::move(options));
    TRY(cluster.start());
    const std::string line = "export CAPSTAN_ACCESS=" + shell_quoted(cluster.access_file()) + "\n";
    const bool has_command = !words.command.empty();
    Output out(has_command ? STDERR_FILENO : STDOUT_FILENO);
    out.write(line);
    TRY(out.flush());
    if (has_command) return cluster.run_command(words.command);
    return cluster.run_until_interrupted();
  }

 private:
  void add_options() {
    using config::parsed;
    using config::whole;
    // clang-format off
    options_.add_options()
        ("masters", parsed("masters", &masters_, whole(1U, kMastersMax))->value_name("N"),
         "One master, or two and a witness (default 1; of a directory that was used: as there).")
        ("workers", parsed("workers", &workers_, whole(0U, kWorkersMax))->value_name("N"),
         "So many workers (default 2).")
        ("cpus", parsed("cpus", &cpus_, whole(1U, limits::kCpusPerTask))->value_name("N"),
         "Cpus of each worker (default: this machine's, divided among them).")
        ("dir", po::value(&dir_)->value_name("DIR"),
         "Keep everything in DIR, which is not removed; a later dev goes on from there. With an "
         "action: the cluster's directory (default: that of the access file).")
        ("json", po::bool_switch(&json_),
         "ps: one JSON object for each node.");
    // clang-format on
    for (const char* name : {"suspect-after", "lost-after", "closed-grace"}) {
      options_.add_options()(name, po::value(&passed_[name])->value_name("DURATION"),
                             "Passed on to the master.");
    }
    for (const char* name : {"grace", "kill-grace"}) {
      options_.add_options()(name, po::value(&passed_[name])->value_name("DURATION"),
                             "Passed on to the workers.");
    }
  }
  void pass_on(const Words& words, const std::string& name, std::vector<std::string>& to) const {
    if (!words.has(name)) return;
    to.push_back("--" + name);
    to.push_back(passed_.at(name));
  }

  Outcome<int> steer(const Words& words) {
    const std::string& action = words.positionals.front();
    const bool is_ps = action == "ps";
    const bool is_known =
        is_ps || action == "kill" || action == "stop" || action == "continue" || action == "start";
    if (!is_known || words.has_command) {
      return usage_error("'" + printable(action) +
                         "' is no action: ps, kill, stop, continue or start; a command stands "
                         "behind --");
    }
    if (words.positionals.size() != (is_ps ? 1U : 2U)) {
      return usage_error(
          is_ps ? "ps takes no node"
                : action + " needs a node: master, w1, w1.agent (of two masters: a, b, w)");
    }
    std::string dir = dir_;
    if (dir.empty()) dir = dev_dir_of(TRY(find_access(common_)));
    const std::string rows =
        TRY(ask_dev_cluster(dir, is_ps ? action : action + " " + words.positionals[1]));
    Output out(STDOUT_FILENO);
    if (is_ps) out.write(json_ ? json_of(rows) : table_of(rows));
    TRY(out.flush());
    return kExitOk;
  }

  struct Row {
    std::string node, pid, state;
  };
  static std::vector<Row> rows_of(const std::string& text) {
    std::istringstream lines(text);
    std::vector<Row> rows;
    for (Row row; lines >> row.node >> row.pid >> row.state;) rows.push_back(row);
    return rows;
  }
  static std::string json_of(const std::string& text) {
    std::string out;
    for (const Row& row : rows_of(text)) {
      out += fmt::format("{{\"node\":\"{}\",\"pid\":{},\"state\":\"{}\"}}\n", row.node,
                         row.pid == "0" ? "null" : row.pid, row.state);
    }
    return out;
  }
  static std::string table_of(const std::string& text) {
    Table table({{"NODE"}, {"PID", true}, {"STATE"}}, false);
    for (const Row& row : rows_of(text)) {
      table.add({{row.node}, {row.pid == "0" ? "-" : row.pid}, {row.state}});
    }
    return table.page();
  }

  std::uint32_t masters_ = 1;
  std::uint32_t workers_ = 2;
  std::uint32_t cpus_ = 1;
  std::string dir_;
  bool json_ = false;
  std::map<std::string, std::string> passed_;
};

}  // namespace

std::string dev_dir_of(const std::string& access_file) {
  return std::filesystem::path(access_file).parent_path().parent_path().string();
}

std::unique_ptr<Verb> make_dev_verb() {
  return std::make_unique<DevVerb>();
}

}  // namespace capstan::cli
