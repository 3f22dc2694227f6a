// SPDX-License-Identifier: MIT
//
// The tasks of a job, a page at a time.
#pragma once

#include <utility>
#include <vector>

#include "cli/outcome.h"
#include "common/model/limits.h"
#include "common/wire/client_message.h"

namespace capstan::cli {

class Client;

class TaskPages {
 public:
  TaskPages(Client& client, msg::ListTasks list) : client_(client), list_(std::move(list)) {
    list_.limit = limits::kRowsPerPage;
  }
  /// Nothing is behind the pages that were given.
  [[nodiscard]] bool at_end() const { return at_end_; }
  /// REQUIRES: !at_end().
  Outcome<std::vector<msg::TaskView>> next();

 private:
  Client& client_;
  msg::ListTasks list_;  ///< What is asked for next.
  bool at_end_ = false;
};

}  // namespace capstan::cli
