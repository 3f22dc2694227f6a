// SPDX-License-Identifier: MIT
#include "common/base/print_error.h"

#include <cstdio>

namespace capstan {

void write_error(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace capstan
