// SPDX-License-Identifier: MIT
#include "master/core/command.h"

#include "common/base/sum_members.h"

template class capstan::Sum<capstan::Command::variant>;
