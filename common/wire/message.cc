// SPDX-License-Identifier: MIT
#include "common/wire/message.h"

#include "common/base/sum_members.h"

namespace capstan::msg {

std::string_view to_string(WorkerState state) {
  switch (state) {
    case WorkerState::Up:
      return "up";
    case WorkerState::Suspect:
      return "suspect";
    case WorkerState::Draining:
      return "draining";
    case WorkerState::Lost:
      return "lost";
    case WorkerState::Left:
      return "left";
  }
  return "unknown";
}

}  // namespace capstan::msg

template class capstan::Sum<capstan::msg::Body::variant>;
