// SPDX-License-Identifier: MIT
//
// Aligned columns for people. Rows may come in pages: a page is as wide as its widest cell and
// never narrower than the page before. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/text.h"

namespace capstan::cli {

class Table {
 public:
  struct Column {
    std::string title;
    bool is_number = false;  ///< Aligned to the right.
  };
  struct Cell {
    std::string text;  ///< Printable UTF-8.
    Colour colour = Colour::None;
  };
  [[nodiscard]] static Cell number(std::uint64_t value) { return {std::to_string(value), {}}; }
  explicit Table(std::vector<Column> columns, bool with_colour);

  void add(std::vector<Cell> row);
  /// The rows since the last page; the titles stand above the first page. Trailing blanks are
  /// left out. "" when there was no row.
  std::string page();

 private:
  std::vector<Column> columns_;
  bool with_colour_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<Cell>> rows_;
  bool titles_printed_ = false;
};

/// How many columns of a terminal well-formed UTF-8 takes (one for each code point).
std::size_t display_width(std::string_view text);
/// At most `width` columns of it, with an ellipsis when something was left out.
std::string shortened(std::string_view text, std::size_t width);
/// Of a reason in a table.
inline constexpr std::size_t kReasonColumns = 60;

}  // namespace capstan::cli
