// SPDX-License-Identifier: MIT
#include "tests/integration/pty.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace capstan::itest {
namespace {

using Clock = std::chrono::steady_clock;

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

winsize size_of(std::size_t columns, std::size_t rows) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  size.ws_row = static_cast<unsigned short>(rows);
  return size;
}

}  // namespace

void Canvas::resize(std::size_t columns, std::size_t rows) {
  columns_ = columns;
  cells_.assign(rows, std::vector<std::string>(columns, " "));
  row_ = column_ = 0;
}

void Canvas::feed(std::string_view bytes) {
  std::string text = unfinished_ + std::string(bytes);
  unfinished_.clear();
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t end = at + 1;
    if (text[at] == '\x1b') {
      const bool is_sequence = at + 1 < text.size() && text[at + 1] == '[';
      end = at + 2;
      while (is_sequence && end < text.size() && (text[end] < '@' || text[end] > '~')) ++end;
      ++end;
    } else {
      while (end < text.size() && is_continuation(text[end])) ++end;
    }
    const bool may_go_on = end >= text.size() && (text[at] == '\x1b' || text[at] < 0);
    if (end > text.size() || (may_go_on && text[at] < 0)) {
      unfinished_ = text.substr(at);
      return;
    }
    const std::string piece = text.substr(at, end - at);
    at = end;
    if (piece[0] == '\x1b') {
      control(piece);
    } else if (piece == "\r") {
      column_ = 0;
    } else if (piece == "\n") {
      ++row_;
      has_overrun_ = has_overrun_ || row_ >= cells_.size();
    } else {
      put(piece);
    }
  }
}

void Canvas::put(const std::string& character) {
  if (row_ >= cells_.size() || column_ >= columns_) {
    has_overrun_ = true;
    return;
  }
  cells_[row_][column_++] = character;
}

void Canvas::control(const std::string& sequence) {
  const auto blank = [&](std::size_t row, std::size_t from) {
    for (std::size_t i = from; i < columns_; ++i) cells_[row][i] = " ";
  };
  if (sequence == "\x1b[H") {  // A new picture: one of the old size may have been on its way.
    row_ = column_ = 0;
    has_overrun_ = false;
  } else if (sequence == "\x1b[K" && row_ < cells_.size()) {
    blank(row_, column_);
  } else if (sequence == "\x1b[J" && row_ < cells_.size()) {
    blank(row_, column_);
    for (std::size_t row = row_ + 1; row < cells_.size(); ++row) blank(row, 0);
  } else if (sequence == "\x1b[?1049h" || sequence == "\x1b[?1049l") {
    is_alternate_ = sequence.back() == 'h';
  } else if (sequence == "\x1b[?25h" || sequence == "\x1b[?25l") {
    has_cursor_ = sequence.back() == 'h';
  }
}

std::vector<std::string> Canvas::lines() const {
  std::vector<std::string> lines;
  for (const auto& row : cells_) {
    std::string line;
    for (const std::string& cell : row) line += cell;
    line.resize(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string Canvas::text() const {
  std::string all;
  for (const std::string& line : lines()) all += line + "\n";
  return all;
}

Pty::Pty(const Options& options) : canvas_(options.columns, options.rows) {
  winsize size = size_of(options.columns, options.rows);
  int master = -1;
  pid_ = ::forkpty(&master, nullptr, nullptr, &size);
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    for (const std::string& entry : options.env) ::putenv(const_cast<char*>(entry.c_str()));
    std::vector<char*> argv;
    for (const std::string& word : options.argv) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  fd_ = UniqueFd(master);
}

Pty::~Pty() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Pty::type(std::string_view bytes) const {
  REQUIRE(::write(fd_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

void Pty::signal(int number) const {
  ::kill(pid_, number);
}

void Pty::resize(std::size_t columns, std::size_t rows) {
  const winsize size = size_of(columns, rows);
  canvas_.resize(columns, rows);
  REQUIRE(::ioctl(fd_.get(), TIOCSWINSZ, &size) == 0);
}

bool Pty::read_some(int timeout_ms) {
  pollfd item{fd_.get(), POLLIN, 0};
  if (::poll(&item, 1, timeout_ms) <= 0) return true;
  char bytes[4096];
  const ssize_t got = ::read(fd_.get(), bytes, sizeof bytes);
  if (got <= 0) return false;
  canvas_.feed({bytes, static_cast<std::size_t>(got)});
  return true;
}

bool Pty::shows(const std::string& text, Seconds limit) {
  const bool found =
      until([&](const Canvas& canvas) { return contains(canvas.text(), text); }, limit);
  if (!found) MESSAGE("not on the screen: " << text << "\n" << canvas_.text());
  return found;
}

bool Pty::until(const std::function<bool(const Canvas&)>& condition, Seconds limit) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
  while (!condition(canvas_)) {
    if (Clock::now() >= end || !read_some(100)) return condition(canvas_);
  }
  return true;
}

int Pty::wait(Seconds limit) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
  int status = 0;
  while (true) {
    const bool is_open = read_some(50);
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) break;
    REQUIRE_MESSAGE(Clock::now() < end, "it does not end");
    if (!is_open) ::poll(nullptr, 0, 10);
  }
  while (true) {  // What it said last.
    pollfd item{fd_.get(), POLLIN, 0};
    if (::poll(&item, 1, 0) <= 0 || (item.revents & POLLIN) == 0 || !read_some(0)) break;
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Pty::is_given_back() const {
  termios mode{};
  if (::tcgetattr(fd_.get(), &mode) != 0) return false;
  return (mode.c_lflag & ICANON) != 0 && (mode.c_lflag & ECHO) != 0 && !canvas_.is_alternate() &&
         canvas_.has_cursor();
}

}  // namespace capstan::itest
