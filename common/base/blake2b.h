// SPDX-License-Identifier: MIT
//
// BLAKE2b of a long stream, 32 bytes (bytes.h has the short digest of what is in memory).
#pragma once

#include <memory>
#include <string_view>

#include "common/base/bytes.h"

namespace capstan {

class Blake2b {
 public:
  Blake2b();
  ~Blake2b();
  Blake2b(const Blake2b&) = delete;
  Blake2b& operator=(const Blake2b&) = delete;

  void update(std::string_view data);
  /// Of everything so far: 32 bytes. REQUIRES: it is called once, and nothing after it.
  [[nodiscard]] Bytes final();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace capstan
