// SPDX-License-Identifier: MIT
#include "common/base/sparse_text.h"

#include <doctest/doctest.h>

namespace capstan {
namespace {

TEST_CASE("a sparse text is what was put in, and a pointer while that is nothing") {
  static_assert(sizeof(SparseText) == sizeof(void*));
  SparseText text;
  CHECK(text.empty());
  CHECK(text == "");
  CHECK(SparseText(std::string()) == text);
  text = std::string("a\0b", 3);
  CHECK(text.size() == 3);
  CHECK(text.view() == std::string_view("a\0b", 3));
  const SparseText copy = text;
  SparseText moved = std::move(text);
  CHECK(copy == moved);
  CHECK(moved.str() == copy.str());
  moved.clear();
  CHECK(moved.empty());
  CHECK(copy.size() == 3);
  moved = copy;
  CHECK(moved == copy);
  moved = "";
  CHECK(moved.empty());
}

}  // namespace
}  // namespace capstan
