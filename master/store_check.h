// SPDX-License-Identifier: MIT
//
// PRAGMA quick_check behind an unclean end, beside everything else: it reads the whole database,
// minutes of a large one, and nobody waits for it.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "master/store/sqlite.h"

namespace capstan {

class StoreCheck {
 public:
  using Told = std::function<void(Result<void>)>;
  /// `told` is called once, on the checking thread.
  static Result<std::unique_ptr<StoreCheck>> begin(const std::string& dir, Told told);
  /// Gives up what is not done: `told` gets an error then that means nothing.
  ~StoreCheck();
  StoreCheck(const StoreCheck&) = delete;
  StoreCheck& operator=(const StoreCheck&) = delete;

 private:
  StoreCheck(store::Connection connection, Told told);

  store::Connection connection_;
  std::future<void> done_;
};

}  // namespace capstan
