// SPDX-License-Identifier: MIT
#include "master/store_check.h"

#include <utility>

#include "master/store/sqlite_store.h"

namespace capstan {

StoreCheck::StoreCheck(std::string dir, std::function<void(Result<void>)> told)
    : thread_([this, dir = std::move(dir), told = std::move(told)] {
        told(store::quick_check(dir, &stopping_));
      }) {}

StoreCheck::~StoreCheck() {
  stopping_ = true;
  thread_.join();
}

}  // namespace capstan
