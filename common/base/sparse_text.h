// SPDX-License-Identifier: MIT
//
// Text or bytes that are nearly always empty: one pointer, where an empty std::string takes and
// moves four words. For what is held or passed on by the thousand.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace capstan {

class SparseText {
 public:
  SparseText() = default;
  SparseText(std::string text) {  // NOLINT(google-explicit-constructor): it is a string.
    if (!text.empty()) text_ = std::make_unique<std::string>(std::move(text));
  }
  SparseText(std::string_view text)  // NOLINT(google-explicit-constructor)
      : text_(text.empty() ? nullptr : std::make_unique<std::string>(text)) {}
  SparseText(const char* text)  // NOLINT(google-explicit-constructor)
      : SparseText(std::string_view(text)) {}
  SparseText(const SparseText& other) : SparseText(other.view()) {}
  SparseText& operator=(const SparseText& other) { return *this = SparseText(other); }
  SparseText(SparseText&&) noexcept = default;
  SparseText& operator=(SparseText&&) noexcept = default;
  ~SparseText() = default;

  [[nodiscard]] bool empty() const { return text_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return text_ == nullptr ? 0 : text_->size(); }
  void clear() { text_.reset(); }
  [[nodiscard]] std::string_view view() const { return text_ ? *text_ : std::string_view(""); }
  [[nodiscard]] std::string str() const { return std::string(view()); }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  friend bool operator==(const SparseText& a, const SparseText& b) { return a.view() == b.view(); }

 private:
  std::unique_ptr<std::string> text_;  // Null: "".
};

}  // namespace capstan
