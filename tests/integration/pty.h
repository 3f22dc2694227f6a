// SPDX-License-Identifier: MIT
//
// A program on a terminal of its own, and what a person would see there: enough of a VT100 to know
// every character's place, and that nothing ran over an edge.
#pragma once

#include <termios.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace capstan::itest {

/// The characters of a terminal. A character is a byte of ASCII or one code point.
class Canvas {
 public:
  Canvas(std::size_t columns, std::size_t rows) { resize(columns, rows); }
  void resize(std::size_t columns, std::size_t rows);
  void feed(std::string_view bytes);
  /// Lines without blanks at their ends.
  [[nodiscard]] std::vector<std::string> lines() const;
  [[nodiscard]] std::string text() const;
  /// Something was written behind the last column or below the last row.
  [[nodiscard]] bool has_overrun() const { return has_overrun_; }
  [[nodiscard]] bool is_alternate() const { return is_alternate_; }
  [[nodiscard]] bool has_cursor() const { return has_cursor_; }

 private:
  void put(const std::string& character);
  void control(const std::string& sequence);
  std::size_t columns_ = 0;
  std::vector<std::vector<std::string>> cells_;
  std::size_t row_ = 0, column_ = 0;
  std::string unfinished_;
  bool has_overrun_ = false;
  bool is_alternate_ = false;
  bool has_cursor_ = true;
};

class Pty {
 public:
  struct Options {
    Args argv;
    Args env = {};
    std::size_t columns = 80, rows = 24;
  };
  explicit Pty(const Options& options);
  /// Kills it.
  ~Pty();
  Pty(const Pty&) = delete;
  Pty& operator=(const Pty&) = delete;

  void type(std::string_view bytes) const;
  void signal(int number) const;
  /// The canvas forgets what it had: the program is to draw anew.
  void resize(std::size_t columns, std::size_t rows);
  /// Reads until `text` stands on the screen.
  bool shows(const std::string& text, Seconds limit = kPatience);
  bool until(const std::function<bool(const Canvas&)>& condition, Seconds limit = kPatience);
  /// Its exit code, or 128 + the signal that ended it.
  int wait(Seconds limit = kPatience);
  [[nodiscard]] const Canvas& canvas() const { return canvas_; }
  /// Lines are edited and echoed, as before the program came.
  [[nodiscard]] bool is_given_back() const;

 private:
  bool read_some(int timeout_ms);
  pid_t pid_ = -1;
  UniqueFd fd_;
  Canvas canvas_;
};

}  // namespace capstan::itest
