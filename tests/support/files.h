// SPDX-License-Identifier: MIT
//
// What is in a file, and what a failing disk would make of it.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

namespace capstan::test {

inline std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void overwrite(const std::string& path, std::uint64_t at, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file << bytes;
}

}  // namespace capstan::test
