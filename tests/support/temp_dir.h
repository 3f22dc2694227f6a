// SPDX-License-Identifier: MIT
//
// A directory that is gone at the end of the scope. In memory where there is room, unless another
// parent is named: what is tested is what we write, not the disk, and a sync costs milliseconds
// there.
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>

namespace capstan::test {

class TempDir {
 public:
  TempDir() : TempDir(in_memory()) {}
  explicit TempDir(const std::filesystem::path& parent)
      : path_((parent / "capstan-test-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
  }
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~TempDir() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  static std::filesystem::path in_memory() {
    constexpr std::uintmax_t kRoomBytes = 1ULL << 30;
    std::error_code none;
    const auto space = std::filesystem::space("/dev/shm", none);
    if (!none && space.available >= kRoomBytes) return "/dev/shm";
    return std::filesystem::temp_directory_path();
  }

  std::string path_;
};

}  // namespace capstan::test
