// SPDX-License-Identifier: MIT
#include "master/alarms.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/log.h"

namespace capstan {

// --- Raised and cleared --------------------------------------------------------------------------

std::vector<AlarmBoard::Change> AlarmBoard::update(const std::vector<Alarm>& standing,
                                                   TimePoint now) {
  std::map<std::string, std::string> texts;
  for (const Alarm& alarm : standing) texts.try_emplace(alarm.name, alarm.text);
  for (const auto& [name, text] : texts) {
    Known& known = known_[name];
    known.text = text;
    if (!std::exchange(known.stands, true)) known.since = now;
  }
  std::vector<Change> changes;
  for (auto it = known_.begin(); it != known_.end();) {
    Known& known = it->second;
    if (!texts.contains(it->first) && std::exchange(known.stands, false)) known.since = now;
    const bool is_settled = now >= known.since + kSettle;
    if (known.stands != known.is_raised && is_settled) {
      known.is_raised = known.stands;
      changes.push_back({{it->first, known.text}, known.is_raised});
    }
    it = known.stands || known.is_raised ? std::next(it) : known_.erase(it);
  }
  return changes;
}

TimePoint AlarmBoard::next_deadline() const {
  TimePoint next = TimePoint::never();
  for (const auto& [name, known] : known_) {
    if (known.stands != known.is_raised) next = std::min(next, known.since + kSettle);
  }
  return next;
}

// --- The command ---------------------------------------------------------------------------------

namespace {

/// Ours without these, and these.
std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  std::vector<std::string> all = more;
  for (char** one = environ; *one != nullptr; ++one) {
    if (!std::string_view(*one).starts_with("CAPSTAN_ALARM")) all.emplace_back(*one);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// With none of our descriptors, signals as at a login. 0: the system refused.
pid_t spawn_shell(const std::string& command, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"/bin/sh", "-c", command};
  std::vector<std::string> environment = environment_with(more);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int code = ::posix_spawn(&pid, "/bin/sh", &actions, &attributes, pointers_to(words).data(),
                                 pointers_to(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (code == 0) return pid;
  log::error("alarm.command_failed", {{"reason", errno_text(code)}});
  return 0;
}

}  // namespace

void AlarmCommand::post(AlarmBoard::Change change) {
  if (command_.empty()) return;
  if (waiting_.size() < kWaiting) return waiting_.push_back(std::move(change));
  log::error("alarm.command_failed", {{"name", change.alarm.name}, {"reason", "too many wait"}});
}

void AlarmCommand::tick(TimePoint now) {
  look_at_ = TimePoint::never();
  while (!is_running(now)) {
    if (waiting_.empty()) return;
    start(waiting_.front(), now);
    waiting_.pop_front();
  }
  look_at_ = now + kLookEvery;
}

void AlarmCommand::start(const AlarmBoard::Change& change, TimePoint now) {
  pid_ = spawn_shell(
      command_, {"CAPSTAN_ALARM=" + change.alarm.name,
                 std::string("CAPSTAN_ALARM_STATE=") + (change.is_raised ? "raised" : "cleared"),
                 "CAPSTAN_ALARM_TEXT=" + change.alarm.text, "CAPSTAN_NODE=" + node_});
  kill_at_ = now + kTimeLimit;
}

bool AlarmCommand::is_running(TimePoint now) {
  if (pid_ == 0) return false;
  int status = 0;
  const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
  if (ended == 0) {
    if (now < kill_at_) return true;
    log::error("alarm.command_failed", {{"reason", "it took too long, and was killed"}});
    kill_at_ = TimePoint::never();
    ::kill(-pid_, SIGKILL);
    return true;
  }
  if (ended > 0 && status != 0)
    log::error("alarm.command_failed", {{"reason", "it did not end well"}, {"status", status}});
  pid_ = 0;
  return false;
}

// --- Both ----------------------------------------------------------------------------------------

void Alarms::update(const std::vector<Alarm>& standing, TimePoint now) {
  for (AlarmBoard::Change& change : board_.update(standing, now)) {
    log::warn(change.is_raised ? "alarm.raised" : "alarm.cleared",
              {{"name", change.alarm.name}, {"reason", change.alarm.text}});
    runner_.post(std::move(change));
  }
  runner_.tick(now);
}

TimePoint Alarms::next_deadline() const {
  return std::min(board_.next_deadline(), runner_.next_deadline());
}

}  // namespace capstan
