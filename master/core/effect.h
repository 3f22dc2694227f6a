// SPDX-License-Identifier: MIT
//
// What must be told to somebody once an entry is committed. Any effect may be lost or doubled: the
// state plus the next HELLO repairs it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"
#include "common/model/task.h"
#include "master/core/command.h"

namespace capstan {

namespace effect {

/// The HELLO of this instance was reconciled: Welcome it, in a new session, before what follows.
struct OpenSession {
  WorkerId worker;
  Instance instance;
};
/// Rendered with inputs when it is sent.
struct StartTasks {
  WorkerId worker;
  JobId job;
  AttemptNo attempt;
  std::vector<TaskIndex> tasks;
};
struct CancelAttempts {
  WorkerId worker;
  CancelWhy why = CancelWhy::User;
  std::vector<AttemptKey> keys;
};
struct RecallAttempts {
  WorkerId worker;
  std::vector<AttemptKey> keys;
};
struct AckResults {
  WorkerId worker;
  std::vector<AttemptKey> keys;
};
/// The worker is lost or left: close its session.
struct CloseSession {
  WorkerId worker;
  Instance instance;
};
/// The key set changed: the authenticator must know this one before the answer leaves.
struct KeyAdded {
  Role role = Role::Worker;
  std::string name;
  std::string public_key;
};
/// The key is nobody's any more: its sessions end at once, with this reason.
struct KeyRemoved {
  std::string public_key;
  std::string reason;
};
/// The answer to a mutation. code 0: done. `submission`: say Submitted, else Done.
struct Answer {
  Asked asked;
  Errc code{};
  std::string reason;
  std::vector<JobId> jobs;
  std::uint64_t tasks = 0;
  bool submission = false;
};
/// A staged part is durable.
struct PartAccepted {
  Asked asked;
  std::uint64_t part = 0;
};
/// The failover machine is to know.
struct MinCopiesSet {
  std::uint32_t copies = 1;
};
/// The job left memory: templates and caches of it may go.
struct JobFinished {
  JobId job;
};

}  // namespace effect

using Effect = std::variant<effect::OpenSession, effect::StartTasks, effect::CancelAttempts,
                            effect::RecallAttempts, effect::AckResults, effect::CloseSession,
                            effect::KeyAdded, effect::KeyRemoved, effect::Answer,
                            effect::PartAccepted, effect::MinCopiesSet, effect::JobFinished>;

}  // namespace capstan
