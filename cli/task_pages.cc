// SPDX-License-Identifier: MIT
#include "cli/task_pages.h"

#include "cli/client.h"

namespace capstan::cli {

Outcome<std::vector<msg::TaskView>> TaskPages::next() {
  auto page = TRY(client_.ask<msg::TaskList>(list_));
  at_end_ = !page.more || page.tasks.empty();
  if (!page.tasks.empty()) {
    list_.from_start = false;
    list_.after = page.tasks.back().task;
  }
  return std::move(page.tasks);
}

}  // namespace capstan::cli
