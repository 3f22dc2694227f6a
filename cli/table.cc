// SPDX-License-Identifier: MIT
#include "cli/table.h"

#include <algorithm>
#include <utility>

namespace capstan::cli {
namespace {

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); }));
}

std::string shortened(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  std::size_t at = 0;
  for (std::size_t left = width - std::min<std::size_t>(width, 1); at < text.size(); ++at) {
    if (is_continuation(text[at])) continue;
    if (left-- == 0) break;
  }
  return std::string(text.substr(0, at)) + (width == 0 ? "" : "…");
}

Table::Table(std::vector<Column> columns, bool with_colour)
    : columns_(std::move(columns)), with_colour_(with_colour) {
  for (const Column& column : columns_) widths_.push_back(display_width(column.title));
}

void Table::add(std::vector<Cell> row) {
  row.resize(columns_.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    widths_[i] = std::max(widths_[i], display_width(row[i].text));
  }
  rows_.push_back(std::move(row));
}

std::string Table::page() {
  if (rows_.empty()) return "";
  std::vector<std::vector<Cell>> lines;
  if (!std::exchange(titles_printed_, true)) {
    lines.emplace_back();
    for (const Column& column : columns_) lines.back().push_back({column.title, Colour::Dim});
  }
  std::move(rows_.begin(), rows_.end(), std::back_inserter(lines));
  rows_.clear();
  std::string out;
  for (const auto& line : lines) {
    std::string text;
    std::size_t blanks = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::size_t padding = widths_[i] - display_width(line[i].text);
      if (columns_[i].is_number) blanks += padding;
      if (!line[i].text.empty()) {
        text.append(blanks, ' ');
        blanks = 0;
        text += coloured(line[i].text, line[i].colour, with_colour_);
      }
      if (!columns_[i].is_number) blanks += padding;
      blanks += 2;
    }
    out += text + "\n";
  }
  return out;
}

}  // namespace capstan::cli
