// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "common/model/job.h"

namespace capstan {

/// As a process gets it: "NAME=value".
inline std::string env_text(const EnvVar& variable) {
  return variable.name + "=" + variable.value;
}

}  // namespace capstan
