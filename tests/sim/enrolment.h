// SPDX-License-Identifier: MIT
//
// What a simulated cluster's journal begins with: its workers, as their enrolment left them.
#pragma once

#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/net/transport.h"
#include "master/core/rows.h"
#include "master/store/store.h"

namespace capstan::sim {

struct EnrolledAt {
  Epoch epoch;
  WallTime wall;
};
/// The first batch of an empty store, and what it changes.
[[nodiscard]] store::Batch enrolment(const std::vector<net::Identity>& workers, EnrolledAt at,
                                     RowChanges& rows);

}  // namespace capstan::sim
