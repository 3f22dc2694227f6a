// SPDX-License-Identifier: MIT
//
// What the integration tests stand on: child processes with their output, named pipes as events,
// and looks into /proc. Everything waits for something to happen, up to a limit; a limit that is
// reached fails the test with what was seen. Nothing waits for a time to pass.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace capstan::itest {

using namespace std::chrono_literals;
using Seconds = std::chrono::duration<double>;

/// How long anything may take that should take moments: the machine may be busy.
inline constexpr Seconds kPatience = 60s;

using Args = std::vector<std::string>;

/// A directory of its own under TMPDIR. At its end every process that was started with it in its
/// command line, or works in it, is killed, and it is removed.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return dir_.path(); }
  [[nodiscard]] std::string operator/(std::string_view name) const;

 private:
  test::TempDir dir_;
};

/// How a process ended, and all that it printed.
struct Finished {
  int code = 0;  ///< Its exit code, or 128 + the signal that ended it.
  std::string out;
  std::string err;
};

/// A process in a group of its own. A thread feeds its stdin and collects its output, so that it
/// never waits for us.
class Child {
 public:
  struct Options {
    Args argv;
    Args env = {};            ///< NAME=VALUE, on top of ours.
    std::string cwd = {};     ///< "": ours.
    std::string input = {};   ///< Of its stdin, which is closed behind it.
    bool keep_stdin = false;  ///< Its stdin stays open, with nothing in it.
  };
  explicit Child(Options options);
  /// Kills its group.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  void signal_group(int number) const;
  /// Waits for its end and returns everything.
  Finished wait(Seconds limit = kPatience);
  /// Waits until `text` stands in what it printed (either stream), and returns all of that stream.
  std::string wait_for(std::string_view text, Seconds limit = kPatience);
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;
  [[nodiscard]] bool is_running() const;

 private:
  void pump(std::string input, bool keep_stdin);

  pid_t pid_ = -1;
  UniqueFd in_, out_fd_, err_fd_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string out_, err_;
  bool ended_ = false;
  int code_ = 0;
  std::thread pump_;
};

/// Runs a program to its end.
Finished run(Child::Options options, Seconds limit = kPatience);

/// A named pipe, open at our end: a task writes a line to say where it is, or reads one to wait
/// for us. Neither blocks for our sake.
class Fifo {
 public:
  explicit Fifo(std::string path);
  ~Fifo();
  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The next line that somebody wrote.
  std::string line(Seconds limit = kPatience);
  /// True when nothing was written that was not read yet.
  [[nodiscard]] bool is_empty();
  void write_line(std::string_view text = "go") const;

 private:
  void read_what_is_there();
  std::string path_;
  UniqueFd fd_;
  std::string buffer_;
};

/// Looks until it holds. For states that nobody announces.
bool eventually(const std::function<bool()>& condition, Seconds limit = kPatience);

/// True once the process is gone (or a zombie).
bool wait_gone(pid_t pid, Seconds limit = kPatience);
bool is_alive(pid_t pid);
std::vector<pid_t> children_of(pid_t pid);
/// The words that a process was started with, each with a NUL behind it; "" when it is gone.
std::string command_line_of(pid_t pid);
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadsAreChecked = true;
#else
inline constexpr bool kThreadsAreChecked = false;
#endif
std::uint64_t rss_bytes(pid_t pid);  ///< 0 with a sanitizer, which keeps what was freed.
int free_port();

std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view content, unsigned mode = 0644);
bool exists(const std::string& path);
std::vector<std::string> lines_of(std::string_view text);
bool contains(std::string_view text, std::string_view part);

}  // namespace capstan::itest
