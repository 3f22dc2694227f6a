// SPDX-License-Identifier: MIT
#include "common/base/error.h"

#include <cstring>

namespace capstan {

std::string errno_text(int error_number) {
  char buffer[256] = "";
  return strerror_r(error_number, buffer, sizeof buffer);  // GNU's: returns the text.
}

}  // namespace capstan
