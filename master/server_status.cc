// SPDX-License-Identifier: MIT
//
// What the server says of itself: to clients, over HTTP, and for alarms.
#include <vector>

#include "common/wire/version.h"
#include "master/server_impl.h"

namespace capstan {

std::vector<Alarm> Server::Impl::alarms() const {
  std::vector<Alarm> alarms = doors.replication.alarms();
  if (ledger.is_draining()) alarms.push_back({"disk", ledger.drain_reason()});
  return alarms;
}

msg::StatusReply Server::Impl::own_status(std::uint64_t query) const {
  msg::StatusReply reply;
  reply.query = query;
  reply.version = kVersion;
  reply.master = options.node;
  reply.cluster = sessions.cluster().id;
  reply.epoch = ledger.epoch();
  reply.seq = ledger.queue().last_seq();
  reply.uptime = ledger.at() - began_at;
  reply.refused_messages = sessions.refused_messages();
  reply.refused_connections = doors.host.refused_connections();
  reply.memory_bytes = doors.host.memory_bytes();
  reply.database_bytes = doors.store.database_bytes();
  reply.disk_free_bytes = doors.host.disk().free_bytes;
  reply.alarms = texts_of(alarms());
  return reply;
}

web::StatusSnapshot Server::status() const {
  const Impl& s = *impl_;
  const api::Overview all =
      api::overview(s.ledger.queue(), s.sessions, s.options.silence, s.ledger.at());
  web::StatusSnapshot snapshot;
  snapshot.turned_at = s.steady_turned_at;
  snapshot.primary = s.began;
  snapshot.store_ok = !s.ledger.is_draining();
  snapshot.node = s.options.node;
  snapshot.epoch = s.ledger.epoch();
  snapshot.seq = s.ledger.durable();
  snapshot.workers_up = all.workers_up;
  snapshot.workers_away = all.workers_away;
  snapshot.cpus = all.cpus;
  snapshot.cpus_running = all.cpus_running;
  snapshot.jobs_live = all.jobs_live;
  snapshot.tasks = all.tasks;
  snapshot.alarms = s.alarms();
  return snapshot;
}

}  // namespace capstan
