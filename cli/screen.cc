// SPDX-License-Identifier: MIT
#include "cli/screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "cli/output.h"
#include "common/base/bytes.h"

namespace capstan::cli {
namespace {

constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l";  // Alternate screen, no cursor.
constexpr const char* kLeave = "\x1b[0m\x1b[?25h\x1b[?1049l";

}  // namespace

Outcome<std::unique_ptr<Screen>> Screen::take() {
  std::unique_ptr<Screen> screen(new Screen);
  termios mode{};
  if (::tcgetattr(STDIN_FILENO, &mode) != 0) {
    return fail_with(kExitFailed, "cannot take the terminal: " + errno_text(errno));
  }
  screen->before_ = mode;
  mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  mode.c_cc[VMIN] = 0;
  mode.c_cc[VTIME] = 0;
  mode.c_cc[VSUSP] = _POSIX_VDISABLE;
  mode.c_cc[VQUIT] = _POSIX_VDISABLE;
  if (::tcsetattr(STDIN_FILENO, TCSANOW, &mode) != 0) {
    return fail_with(kExitFailed, "cannot take the terminal: " + errno_text(errno));
  }
  Output out(STDOUT_FILENO);
  out.write(kEnter);
  TRY(out.flush());
  return screen;
}

Screen::~Screen() {
  Output out(STDOUT_FILENO);
  out.write(kLeave);
  static_cast<void>(out.flush());
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

top::Size Screen::size() {
  winsize size{};
  top::Size out;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
    out.columns = size.ws_col;
    out.rows = size.ws_row;
  }
  return out;
}

Outcome<void> Screen::draw(const std::vector<std::string>& lines) {
  std::string text = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) text += "\r\n";
    text += lines[i] + "\x1b[K";
  }
  text += "\x1b[J";
  Output out(STDOUT_FILENO);
  out.write(text);
  return out.flush();
}

std::string Screen::read(bool& is_gone) {
  char bytes[256];
  const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
  // Nothing to read although it was said to be readable: it was hung up.
  pollfd now{STDIN_FILENO, POLLIN, 0};
  is_gone = (got < 0 && errno != EINTR && errno != EAGAIN) ||
            (got == 0 && ::poll(&now, 1, 0) > 0 && (now.revents & POLLHUP) != 0);
  return got > 0 ? std::string(bytes, static_cast<std::size_t>(got)) : std::string();
}

}  // namespace capstan::cli
