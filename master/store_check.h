// SPDX-License-Identifier: MIT
//
// PRAGMA quick_check behind an unclean end, beside everything else: it reads the whole database,
// minutes of a large one, and nobody waits for it.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "common/base/error.h"

namespace capstan {

class StoreCheck {
 public:
  /// `told` is called once, on the checking thread.
  StoreCheck(std::string dir, std::function<void(Result<void>)> told);
  /// Gives up what is not done; `told` may be called with an error that means nothing then.
  ~StoreCheck();
  StoreCheck(const StoreCheck&) = delete;
  StoreCheck& operator=(const StoreCheck&) = delete;

 private:
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace capstan
