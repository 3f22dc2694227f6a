// SPDX-License-Identifier: MIT
//
// Tasks as processes: spawned, their output read, their whole tree killed, their end noticed. One
// attempt is gone only when its main process is reaped, its process group is empty and no stranger
// (a daemon that left the group and became our child) belongs to it. What the main process leaves
// behind may end by itself for kStragglerWait and is killed then. Shepherd thread only.
#pragma once

#include <poll.h>
#include <sys/resource.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/base/unique_fd.h"
#include "worker/exec/output.h"
#include "worker/exec/process_tree.h"
#include "worker/exec/runner.h"
#include "worker/exec/spawn.h"
#include "worker/exec/task_cgroup.h"
#include "worker/exec/task_file.h"

namespace capstan {

class ProcessRunner final : public Runner {
 public:
  struct Options {
    std::string output_dir;
    std::string jobs_dir;              ///< Of job_files.h.
    std::string cookie;                ///< DIRECTORY.LIFE: the attempt is appended.
    mode_t umask = 022;                ///< For tasks: the user's own.
    std::vector<int> default_signals;  ///< Ignored here, but not in tasks.
    /// A session costs a scheduling group of the kernel's for each task: only where there is a
    /// terminal that they are to be kept from.
    Apart apart = Apart::Session;
    /// Each task is pinned to some of these. None: tasks run where they like.
    std::vector<std::uint32_t> cpu_ids{};
    /// Where tasks that say how much memory they need get a group of their own.
    std::optional<TaskCgroups> cgroups{};
  };
  struct Handler {
    /// Of a followed job.
    std::function<void(const AttemptKey&, Stream, std::uint64_t total)> on_grew;
    /// An output could not be written: its tail is all that is kept of it.
    std::function<void(const Error&)> on_disk_error;
    /// There are groups, and a task could not be put into one: it is measured.
    std::function<void(const Error&)> on_not_held{};
    /// A child that is no task's: the agent.
    std::function<void(pid_t, int status)> on_other_child;
  };
  /// Makes this process the subreaper of its descendants, and raises its limit of open files: a
  /// task takes four, and a worker may have hundreds of slots. Children that are there already, and
  /// those told by `ignore`, are nobody's strangers.
  static Result<std::unique_ptr<ProcessRunner>> open(Options options, const Clock& clock,
                                                     Handler handler);
  void ignore(pid_t pid) override { ignored_.insert(pid); }

  [[nodiscard]] Result<Started> start(const shepherd::Launch& launch) override;
  void kill(const AttemptKey& key, bool force) override;
  void follow(JobId job, bool on) override;
  [[nodiscard]] shepherd::Seen look(const AttemptKey& key) override;

  void poll_fds(std::vector<pollfd>& fds) const override;
  void on_readable(int fd) override;
  void on_child() override;
  void on_deadline() override;
  [[nodiscard]] TimePoint next_deadline() const override;
  [[nodiscard]] std::vector<Ended> take_ended() override { return std::exchange(ended_, {}); }
  [[nodiscard]] std::size_t running_count() const override { return processes_.size(); }

 private:
  struct Process {
    AttemptKey key;
    pid_t pid = 0;             // Also its process group, and its session if it has one.
    std::uint32_t serial = 0;  // In its mark.
    bool main_ended = false;
    int status = 0;            // Of the main process.
    bool terminating = false;  // TERM was sent.
    bool forced = false;       // KILL was sent, and goes to whatever shows up.
    TimePoint check_at = TimePoint::never();
    std::set<pid_t> strangers;  // Left the group, became our children.
    Micros cpu{0};
    std::uint64_t max_rss_bytes = 0;
    std::uint64_t rss_floor_bytes = 0;
    std::array<UniqueFd, 2> pipes;    // By Stream.
    std::array<UniqueFd, 2> writing;  // Their other ends: so that what closes its output as it ends
                                      // does not wake us for that before its end does.
    std::array<OutputWriter, 2> output;
    std::array<TaskFile, 2> files;
    TimePoint output_at;                 // When it wrote something last, or its start.
    std::uint64_t mem_bytes = 0;         // That it may use.
    std::optional<TaskCgroup> group;     // That holds it to that; none: it is measured.
    std::vector<std::uint32_t> cpu_ids;  // That it is pinned to.
  };

  ProcessRunner(Options options, const Clock& clock, Handler handler);
  Process* find(const AttemptKey& key);
  Result<std::array<TaskFile, 2>> open_files(const shepherd::Launch& launch) const;
  Result<UniqueFd> open_stdin(const shepherd::Launch& launch) const;
  /// Besides its job's.
  [[nodiscard]] std::vector<EnvVar> own_environment(const shepherd::Launch& launch) const;
  void make_group(const shepherd::Launch& launch, Process& process);
  void drop_group(Process& process);
  Result<void> spawn_main(const shepherd::Launch& launch, const std::array<UniqueFd, 2>& writing,
                          Process& process);
  void reaped(pid_t pid, int status, const rusage& usage);
  void find_strangers();
  void adopt_stranger(pid_t pid);
  void check_ends();
  Process* find_serial(std::uint32_t serial);
  Process* find_launch(std::string_view launch);  // "JOB.TASK.ATTEMPT"
  std::uint32_t next_serial();
  std::uint64_t lower_own_peak();
  [[nodiscard]] static bool has_group(const Process& process);
  void press(Process& process);
  void signal_tree(const Process& process, int number) const;
  void finish(Process& process);
  bool read_pipe(Process& process, Stream stream);
  void after_write(Process& process, Stream stream, const Result<void>& written);

  Options options_;
  const std::optional<ResourceLimit> files_limit_;  // For tasks: the one that we had.
  const ProcessMark mark_;
  const Clock& clock_;
  Handler handler_;
  UniqueFd null_;
  ChildrenList children_;
  std::map<AttemptKey, Process> processes_;
  std::unordered_map<pid_t, AttemptKey> mains_;            // Not reaped yet.
  std::unordered_map<std::uint32_t, AttemptKey> serials_;  // Of processes_.
  std::uint32_t last_serial_ = 0;
  UniqueFd clear_refs_;  // Lowers our own peak of memory.
  std::unordered_map<int, std::pair<AttemptKey, Stream>> pipes_;
  std::set<AttemptKey> ending_;  // Their main process is reaped.
  std::set<pid_t> ignored_;
  std::vector<std::uint32_t> free_cpus_;     // Of options_.cpu_ids.
  TimePoint sweep_at_ = TimePoint::never();  // The kernel's list may miss one at times.
  /// Strangers without a mark, and when they are nobody's: where no limit bears it, and in the
  /// middle of an exec the environment is empty for a moment.
  std::map<pid_t, TimePoint> unknown_;
  std::set<JobId> followed_;
  std::vector<Ended> ended_;
  std::string buffer_;
};

}  // namespace capstan
