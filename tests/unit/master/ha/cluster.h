// SPDX-License-Identifier: MIT
//
// A cluster for scripts: two data nodes and a witness that are in sync, with calm disks and ways.
#pragma once

#include <doctest/doctest.h>

#include "tests/support/ha_world.h"

namespace capstan::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Cluster {
  explicit Cluster(HaOptions options = {}) : world(options) {
    world.start_all();
    CHECK(world.run_until([&] { return world.leader() != 0; }, seconds(5)));
    primary = world.leader();
    standby = static_cast<NodeId>(3 - primary);
    REQUIRE(comes_in_sync());
    REQUIRE(commits());
  }
  ~Cluster() { CHECK(world.error() == ""); }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  ha::Machine& machine(NodeId id) { return *world.node(id).machine; }
  bool leads(NodeId id) { return world.node(id).is_up() && machine(id).is_leader(); }
  bool comes_in_sync(Micros within = seconds(20)) {
    return world.run_until(
        [&] { return world.leader() != 0 && machine(world.leader()).is_in_sync(); }, within);
  }
  bool comes_to_lead(NodeId id, Micros within) {
    return world.run_until([&] { return world.leader() == id; }, within);
  }
  bool becomes_solo(NodeId id, Micros within) {
    return world.run_until([&] { return leads(id) && machine(id).is_solo(); }, within);
  }
  /// A new entry is acknowledged.
  bool commits(Micros within = seconds(1)) {
    if (!world.run_until([&] { return world.submit(); }, within)) return false;
    const std::size_t before = world.acknowledged();
    return world.run_until([&] { return world.acknowledged() > before; }, within);
  }
  bool may_commit_within(Micros duration) {
    const std::size_t before = world.acknowledged();
    world.submit();
    return world.run_until([&] { return world.acknowledged() > before; }, duration);
  }
  /// It has told the others so. `back_to_init`: it has a vote file as init wrote it.
  void restart_without_votes(NodeId id, bool back_to_init = false) {
    world.crash(id);
    world.lose_vote(id, back_to_init);
    world.start(id);
    world.run_for(seconds(1));
  }
  /// Both others are off and given up: the standby leads alone.
  void give_up_all_but_standby() {
    world.crash(primary);
    world.crash(witness);
    world.run_for(seconds(5));
    const ha::event::Control order{.verb = msg::ClusterVerb::FailOverWithLoss,
                                   .lost = {primary, witness}};
    REQUIRE(tell(standby, order).ok);
  }
  /// The answer to what node `id` was told.
  ha::action::Answer tell(NodeId id, const ha::event::Control& control) {
    const std::size_t before = world.answers().size();
    world.control(id, control);
    CHECK(world.run_until([&] { return world.answers().size() > before; }, seconds(10)));
    return world.answers().back();
  }
  /// The same; but whatever it says to the others on that is lost on its way.
  ha::action::Answer tell_unheard(NodeId id, const ha::event::Control& control) {
    const HaOptions before = world.options();
    HaOptions lossy = before;
    lossy.lost_percent = 100;
    world.set_options(lossy);
    ha::action::Answer answer = tell(id, control);
    world.set_options(before);
    return answer;
  }

  HaWorld world;
  NodeId primary = 0;
  NodeId standby = 0;
  NodeId witness = 3;
};

}  // namespace capstan::test
