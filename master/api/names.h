// SPDX-License-Identifier: MIT
//
// What a worker or a user may be called: one word that fits a file name and a table.
#pragma once

#include <algorithm>
#include <string>

#include "common/base/bytes.h"
#include "common/model/limits.h"

namespace capstan::api {

[[nodiscard]] inline bool is_good_name(const std::string& name) {
  if (name.empty() || name.size() > limits::kNameBytes || !is_utf8(name)) return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '/' || c == 0x7f;
  });
}

}  // namespace capstan::api
