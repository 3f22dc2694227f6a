// SPDX-License-Identifier: MIT
//
// Copies of the database for backups, made and read on a thread of their own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "master/api/doors.h"
#include "master/api/read_thread.h"

namespace capstan {

class BackupDoor final : public api::Backups {
 public:
  /// Of the master's directory `dir`; removes what an earlier life left there. `wake` as of
  /// ReadThread.
  static Result<std::unique_ptr<BackupDoor>> open(const std::string& dir, const Clock& clock,
                                                  std::function<void()> wake);
  /// Gives up a copy that is being made.
  ~BackupDoor() override;

  Uuid make(Done done) override;
  void read(const Uuid& id, std::uint64_t offset, std::function<void(Result<Bytes>)> done) override;
  void drop(const Uuid& id) override;
  /// On the loop.
  void run_completions() { thread_->run_completions(); }

 private:
  BackupDoor(std::string dir, const Clock& clock) : dir_(std::move(dir)), clock_(clock) {}
  [[nodiscard]] std::string path_of(const Uuid& id) const;

  std::string dir_;
  const Clock& clock_;
  std::atomic<bool> stopping_ = false;
  std::unique_ptr<api::ReadThread> thread_;
};

}  // namespace capstan
