// SPDX-License-Identifier: MIT
//
// Output of tasks on both masters: the leader's door to the packs relays (output_relay.h), the
// follower stores what its leader relays, and drops what its leader deleted.
#include <utility>

#include "common/base/log.h"
#include "master/node_impl.h"

namespace capstan {

NodeId Node::Impl::other_master() const {
  for (const Voter& each : options.ha.voters) {
    if (!each.is_witness && each.id != options.ha.self) return each.id;
  }
  return 0;
}

void Node::Impl::open_relay() {
  if (doors.logs == nullptr || other_master() == 0) return;
  const auto send = [this, to = other_master()](msg::LogRelay piece) {
    send_to(to, std::move(piece));
  };
  relay.emplace(OutputRelay::Doors{*doors.logs, doors.clock, send});
}

/// Output of jobs that are gone: they were deleted while this node was away and got a snapshot for
/// it, or when it ended before it had removed them all. Nobody else would remove it.
void Node::Impl::find_orphans() {
  if (doors.logs == nullptr || doors.reads == nullptr) return;
  doors.logs->list_jobs([this](const Result<std::vector<JobId>>& jobs) {
    knows_orphans = !jobs || jobs->empty();
    if (!jobs) log::error("output.not_listed", {{"reason", jobs.error().message}});
    if (knows_orphans) return;
    doors.reads->post([this, jobs = *jobs](store::Tables& tables) -> api::Reads::Completion {
      return [this, gone = tables.list_gone(jobs)] {
        knows_orphans = true;
        if (!gone) return log::error("output.not_listed", {{"reason", gone.error().message}});
        if (!gone->empty()) log::info("output.orphaned", {{"jobs", gone->size()}});
        unwanted.insert(unwanted.end(), gone->begin(), gone->end());
      };
    });
  });
}

/// One that leads no more tells nobody anything: its workers keep what they have for the next one.
void Node::Impl::tend_output() {
  forget_output();
  if (!relay || !server || restarting || !machine.is_leader()) return;
  std::uint64_t life = 0;
  for (const ha::Machine::PeerView& peer : machine.peers()) {
    if (peer.id == other_master() && machine.is_in_sync()) life = peer.life;
  }
  relay->set_peer(life);
  if (knows_orphans && unwanted.empty()) relay->allow_walk();
  relay->tick();
}

void Node::Impl::take_output(NodeId from, Epoch epoch, msg::LogRelay piece) {
  const bool is_leaders = from == machine.leader() && epoch == machine.epoch();
  if (!replica || doors.logs == nullptr || !is_leaders || piece.life != options.start.life) return;
  const auto is_gone = [this, job = piece.key.job] {
    const Queue& queue = server ? server->queue() : replica->queue();
    return queue.deletions().contains(job);
  };
  take_relayed(*doors.logs, std::move(piece), is_gone,
               [this, from](msg::LogRelayed answer) { send_to(from, answer); });
}

/// One pack at a time: there may be thousands, and others wait for the same thread.
void Node::Impl::forget_output() {
  if (unwanted.empty() || std::exchange(is_forgetting, true)) return;
  const JobId job = unwanted.front();
  doors.logs->remove(job, [this, job](const Result<void>& removed) {
    is_forgetting = false;
    if (!removed && removed.error().code == Errc::Unavailable) return;  // With a later turn.
    unwanted.pop_front();
    if (!removed)
      log::warn("output.not_removed", {{"job", job.value}, {"reason", removed.error().message}});
  });
}

}  // namespace capstan
