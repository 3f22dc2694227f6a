// SPDX-License-Identifier: MIT
//
// One job, watched until it is finished: its state as it changes, its tasks as they end. Pushed by
// the master, resumed by the client across reconnects.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/client.h"

namespace capstan::cli {

class JobWatch {
 public:
  struct Options {
    JobId job;
    bool tasks = false;
    bool output = false;
  };
  using OnEvents = std::function<void(const msg::WatchEvents&)>;
  /// REQUIRES: the client outlives it.
  JobWatch(Client& client, Options options, OnEvents on_events = {});
  ~JobWatch();
  JobWatch(const JobWatch&) = delete;
  JobWatch& operator=(const JobWatch&) = delete;

  /// None before the first answer.
  [[nodiscard]] const std::optional<msg::JobView>& job() const { return job_; }
  /// It is finished and everything up to there was told.
  [[nodiscard]] bool is_finished() const {
    return job_ && caught_up_ && capstan::is_finished(job_->state);
  }
  /// The mark "this is now" has come.
  [[nodiscard]] bool is_caught_up() const { return caught_up_; }
  [[nodiscard]] bool has_answer() const { return job_.has_value() || failure_.has_value(); }
  [[nodiscard]] const std::optional<Failure>& failure() const { return failure_; }

 private:
  Client& client_;
  OnEvents on_events_;
  std::uint64_t id_ = 0;
  std::optional<msg::JobView> job_;
  bool caught_up_ = false;
  std::optional<Failure> failure_;
};

/// A selector that names whole jobs or tasks of one, resolved.
struct Target {
  JobId job;
  std::vector<IndexRange> tasks;  ///< Empty: all.
};
/// "17" without asking; "last" and "all" by asking.
Outcome<std::vector<Target>> resolve(Client& client, const std::vector<Selector>& selectors);
/// Exactly one job, or a Failure that says what is needed.
Outcome<Target> resolve_one(Client& client, const std::string& text);
/// As they were typed.
Outcome<std::vector<Selector>> parse_selectors(const std::vector<std::string>& words);

}  // namespace capstan::cli
