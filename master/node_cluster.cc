// SPDX-License-Identifier: MIT
//
// What a node tells people of the cluster, and what an admin may have it do: whether it leads or
// not, because it is asked most when nobody does.
#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/wire/codec.h"
#include "master/node_impl.h"

namespace capstan {
namespace {

enum class NodeRole : std::uint32_t { Standby = 0, Primary = 1, Witness = 2 };

}  // namespace

/// Or a standby's to answer; a primary is asked for backups in a session, like for everything else.
bool Node::Impl::is_about_cluster(std::string_view frame) const {
  const std::string_view name = wire::type_name_of(frame);
  return name == "AskCluster" || name == "ClusterControl" || (name == "ReadBackup" && replica);
}

void Node::Impl::on_cluster_frame(net::PeerId peer, const net::Identity& identity,
                                  std::string_view frame) {
  const Result<msg::Message> message = wire::decode(frame);
  if (!message || (identity.role != Role::Admin && identity.role != Role::User)) return;
  if (const auto* ask = std::get_if<msg::AskCluster>(&message->body))
    return reply(peer, view(ask->query));
  if (const auto* read = std::get_if<msg::ReadBackup>(&message->body)) {
    if (identity.role == Role::Admin) return give_backup(peer, *read);
    return reply(peer, msg::Denied{RequestId{}, read->query, Errc::NotAllowed,
                                   "only an admin's key may do this"});
  }
  const auto* ask = std::get_if<msg::ClusterControl>(&message->body);
  if (ask == nullptr) return;
  if (identity.role != Role::Admin) {
    return reply(peer, msg::ClusterDone{ask->query, false, Errc::NotAllowed,
                                        "only an admin's key may do this"});
  }
  log::warn("cluster.steered", {{"name", identity.name},
                                {"verb", static_cast<std::uint64_t>(ask->verb)},
                                {"node", ask->node}});
  control(peer, *ask);
}

void Node::Impl::control(net::PeerId peer, const msg::ClusterControl& ask) {
  const auto refuse = [&](Errc code, std::string reason) {
    reply(peer, msg::ClusterDone{ask.query, false, code, std::move(reason)});
  };
  if (asker) return refuse(Errc::Unavailable, "another command of the cluster is under way");
  ha::event::Control event{
      .verb = ask.verb, .node = 0, .lost = {}, .value = ask.value, .wall = doors.clock.wall()};
  const auto id_of = [&](const std::string& name) {
    const auto known = ids.find(name);
    return known == ids.end() ? NodeId{0} : known->second;
  };
  if (!ask.node.empty()) {
    event.node = id_of(ask.node);
    if (event.node == 0) return refuse(Errc::NotFound, "there is no node " + ask.node);
  }
  for (const std::string& name : ask.lost) {
    event.lost.push_back(id_of(name));
    if (event.lost.back() == 0) return refuse(Errc::NotFound, "there is no node " + name);
  }
  asker = Asker{peer, ask.query};
  feed_later(event);
}

/// As far as this node knows what is committed; all of it is in the copy.
void Node::Impl::give_backup(net::PeerId peer, const msg::ReadBackup& ask) {
  if (!ask.backup.is_set()) keep(replica->bring_up());
  backups.on_read(ask, doors.clock.now(),
                  [this, peer](msg::Body body) { reply(peer, std::move(body)); });
}

msg::ClusterView Node::Impl::view(std::uint64_t query) const {
  const TimePoint now = doors.clock.now();
  const Seq own = server ? server->committed() : replica ? replica->last().seq : Seq{};
  const NodeId leader = machine.leader();
  msg::ClusterView view;
  view.query = query;
  view.name = voter(options.ha.self).name;
  if (leader != 0) view.primary = voter(leader).name;
  view.in_sync = machine.is_in_sync();
  view.solo = machine.is_solo();
  view.min_copies = machine.min_copies();
  const auto add = [&](const Voter& each, bool reachable, Seq seq, Micros ago) {
    const NodeRole role = each.is_witness     ? NodeRole::Witness
                          : each.id == leader ? NodeRole::Primary
                                              : NodeRole::Standby;
    msg::NodeView node{each.name,
                       static_cast<std::uint32_t>(role),
                       doors.peers.addresses_of(each.id),
                       reachable,
                       seq,
                       0,
                       ago};
    if (!each.is_witness && own > seq) node.lag = own.value - seq.value;
    view.nodes.push_back(std::move(node));
  };
  const std::vector<ha::Machine::PeerView> peers = machine.peers();
  for (const Voter& each : options.ha.voters) {
    if (each.id == options.ha.self) {
      add(each, true, own, Micros(0));
      continue;
    }
    const auto peer = std::find_if(peers.begin(), peers.end(),
                                   [&](const auto& known) { return known.id == each.id; });
    if (peer == peers.end()) continue;
    add(each, peer->is_connected, peer->seq, peer->heard_at ? now - *peer->heard_at : Micros(-1));
  }
  view.alarms = texts_of(all_alarms());
  if (server) tell_risk(view);
  return view;
}

/// What a failover would cost now.
void Node::Impl::tell_risk(msg::ClusterView& view) const {
  if (is_alone()) {
    view.at_risk = "everything, with this machine's disk: there is no standby";
  } else if (!view.in_sync) {
    view.at_risk = "what was acknowledged since the standby went away: it cannot take over";
  } else {
    view.failover = options.ha.timers.election_max + options.ha.timers.election_round;
  }
}

}  // namespace capstan
