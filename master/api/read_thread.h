// SPDX-License-Identifier: MIT
//
// The real door to wide reads: one thread with a reader of its own. Questions go in from the loop,
// completions are handed back to the loop through `wake`. Both queues are bounded by what the
// clients may have open (kQuestionsPerClient each).
#pragma once

#include <functional>
#include <memory>

#include "master/api/doors.h"

namespace capstan::api {

class ReadThread final : public Reads {
 public:
  /// `wake` is called from the reading thread: the loop shall call run_completions() soon.
  ReadThread(std::unique_ptr<store::Tables> tables, std::function<void()> wake);
  /// Waits for the question that is being read; drops the others and every completion.
  ~ReadThread() override;

  void post(Question question) override;
  /// On the loop.
  void run_completions();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::api
