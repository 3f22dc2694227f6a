// SPDX-License-Identifier: MIT
//
// What a master's log says of the entries that it wrote: one line an event, with the fields that
// let one grep follow a job, a task or a worker through all programs. Lines of single tasks are at
// debug level, lost attempts aside. Loop thread only.
#pragma once

#include "master/api/ledger.h"
#include "master/core/queue.h"

namespace capstan {

void log_written(const api::Ledger::Written& written, const Queue& queue);

}  // namespace capstan
