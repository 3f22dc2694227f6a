// SPDX-License-Identifier: MIT
//
// Fills what `top` shows: asks for everything that a page needs, and for the next only when all of
// it is answered. Never blocks; while no master answers the last picture stays, with the reason.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cli/client.h"
#include "cli/job_watch.h"
#include "cli/progress.h"
#include "cli/top_frame.h"

namespace capstan::cli {

class TopSource {
 public:
  /// REQUIRES: the client outlives it, and no turn() runs after its end.
  explicit TopSource(Client& client) : client_(client) {}
  TopSource(const TopSource&) = delete;
  TopSource& operator=(const TopSource&) = delete;

  /// Asks for what `view` shows. Nothing, while answers are owed.
  void refresh(const top::View& view);
  [[nodiscard]] bool is_busy() const { return owed_ != 0; }
  /// Since when answers are owed.
  [[nodiscard]] TimePoint asked_at() const { return asked_at_; }
  /// Counts up with every complete picture.
  [[nodiscard]] std::uint64_t pictures() const { return pictures_; }
  [[nodiscard]] const top::Model& model() const { return model_; }
  void set_trouble(std::string trouble) { model_.trouble = std::move(trouble); }
  /// Of the first picture: a person without one wants the reason.
  [[nodiscard]] const std::optional<Failure>& failure() const { return failure_; }

 private:
  template <class Answer, class Question, class Take>
  void ask(Question question, Take take);
  void ask_jobs(bool live_only);
  void ask_tasks(const top::View& view);
  void ask_attempts(const top::View& view);
  void ask_tail(const top::View& view);
  void finish();
  void measure();

  Client& client_;
  top::Model model_;
  top::Model next_;  ///< The picture that is being made.
  std::size_t owed_ = 0;
  TimePoint asked_at_{0};
  std::uint64_t pictures_ = 0;
  std::uint64_t tail_total_ = 0;         ///< Of the stream that was shown last.
  std::string tail_of_;                  ///< Which that was.
  std::unique_ptr<JobWatch> following_;  ///< Makes workers deliver what running tasks print.
  JobId followed_;
  std::uint64_t finished_ = 0;             ///< Tasks that we saw finish.
  std::map<JobId, std::uint64_t> before_;  ///< Finished tasks of each job, at the last picture.
  WallTime measured_at_;
  Rate rate_;
  std::map<JobId, Rate> job_rates_;
  std::optional<Failure> failure_;
};

}  // namespace capstan::cli
