// SPDX-License-Identifier: MIT
#include "master/store_check.h"

#include <chrono>
#include <utility>

#include "master/store/sqlite_store.h"

namespace capstan {

Result<std::unique_ptr<StoreCheck>> StoreCheck::begin(const std::string& dir, Told told) {
  store::Connection connection =
      TRY(store::Connection::open(store::database_path(dir), store::Access::ReadOnly));
  return std::unique_ptr<StoreCheck>(new StoreCheck(std::move(connection), std::move(told)));
}

StoreCheck::StoreCheck(store::Connection connection, Told told)
    : connection_(std::move(connection)),
      done_(std::async(std::launch::async,
                       [this, told = std::move(told)] { told(store::quick_check(connection_)); })) {
}

StoreCheck::~StoreCheck() {
  // Again and again: one that comes before the statement has begun is not noticed.
  constexpr auto kAgain = std::chrono::milliseconds(2);
  while (done_.wait_for(kAgain) == std::future_status::timeout) connection_.interrupt();
}

}  // namespace capstan
