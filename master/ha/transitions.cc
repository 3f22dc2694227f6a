// SPDX-License-Identifier: MIT
#include "master/ha/transitions.h"

#include <array>

#include "common/base/check.h"

namespace capstan::ha {

namespace {

using enum Role;

constexpr std::array kTransitions{
    Transition{Follower, Asking, Cause::Silence, "silence",
               "nobody led for the election time: asking the other voters"},
    Transition{Follower, Asking, Cause::Closed, "leader closed",
               "the leader's process is gone: asking the other voters"},
    Transition{Follower, Asking, Cause::Sole, "alone in the isr",
               "nobody else may lead: asking the other voters"},
    Transition{Follower, Candidate, Cause::TakeOver, "take over",
               "the leader hands over: standing for election"},
    Transition{Follower, Candidate, Cause::Override, "override",
               "an operator said that the old primary is off: standing for election"},
    Transition{Asking, Candidate, Cause::Granted, "granted",
               "a majority hears no leader: standing for election"},
    Transition{Asking, Candidate, Cause::Override, "override",
               "an operator said so while the others were asked: standing for election"},
    Transition{Asking, Follower, Cause::Unanswered, "no answer",
               "no majority would vote for this node now"},
    Transition{Asking, Follower, Cause::LeaderHeard, "leader heard",
               "a leader was heard while the others were asked"},
    Transition{Asking, Follower, Cause::HigherEpoch, "higher epoch",
               "another node stands while the others were asked"},
    Transition{Candidate, Claiming, Cause::Promised, "promised",
               "a majority promised, and this node has everything that was acknowledged"},
    Transition{Candidate, Follower, Cause::NotInIsr, "not in the isr",
               "a majority promised, but this node may lack what was acknowledged"},
    Transition{Candidate, Follower, Cause::Unanswered, "no answer", "no majority promised in time"},
    Transition{Candidate, Follower, Cause::LeaderHeard, "leader heard",
               "a leader was heard during the candidacy"},
    Transition{Candidate, Follower, Cause::HigherEpoch, "higher epoch",
               "a higher epoch ended the candidacy"},
    Transition{Claiming, Leader, Cause::Accepted, "accepted",
               "a majority recorded this node as the leader"},
    Transition{Claiming, Follower, Cause::Unanswered, "no answer",
               "no majority recorded this node as the leader in time"},
    Transition{Claiming, Follower, Cause::LeaderHeard, "leader heard",
               "a leader was heard during the claim"},
    Transition{Claiming, Follower, Cause::HigherEpoch, "higher epoch",
               "a higher epoch ended the claim"},
    Transition{Leader, Follower, Cause::HigherEpoch, "higher epoch",
               "another node stands in a higher epoch: leading no more"},
    Transition{Leader, Follower, Cause::TakeOver, "handed over",
               "the standby takes over as it was asked to: leading no more"},
    Transition{Leader, Follower, Cause::NoMajority, "no majority",
               "no majority was heard for the election time: leading no more"},
    Transition{Leader, Follower, Cause::Override, "override",
               "an operator said that voters are lost: leading again only in a higher epoch"},
};

}  // namespace

const char* to_string(Role role) {
  switch (role) {
    case Follower:
      return "follower";
    case Asking:
      return "asking";
    case Candidate:
      return "candidate";
    case Claiming:
      return "claiming";
    case Leader:
      return "leader";
  }
  return "?";
}

std::span<const Transition> transitions() {
  return kTransitions;
}

const Transition& transition(Role from, Cause cause) {
  const Transition* found = nullptr;
  for (const Transition& row : kTransitions) {
    if (row.from == from && row.cause == cause) found = &row;
  }
  CHECK(found != nullptr);
  return *found;
}

}  // namespace capstan::ha
