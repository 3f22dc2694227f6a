// SPDX-License-Identifier: MIT
//
// A terminal that is ours for a while: the alternate screen without a cursor, keys as they are
// pressed. Given back as it was at the end of the scope, whatever ends it.
#pragma once

#include <termios.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/outcome.h"
#include "cli/top_frame.h"

namespace capstan::cli {

class Screen {
 public:
  /// Takes the terminal of stdin and stdout. Ctrl-C stays a signal; Ctrl-Z and Ctrl-\ are keys.
  static Outcome<std::unique_ptr<Screen>> take();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] static top::Size size();
  /// Draws over what was there.
  Outcome<void> draw(const std::vector<std::string>& lines);
  /// What was typed; "" for nothing. `is_gone`: there is no terminal any more.
  std::string read(bool& is_gone);

 private:
  Screen() = default;
  termios before_{};
};

}  // namespace capstan::cli
