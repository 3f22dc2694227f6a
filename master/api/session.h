// SPDX-License-Identifier: MIT
//
// Who is connected, and in which session. A session is one HELLO to the next between a master and
// a worker or client: both sides number what they send, and a gap, a repeat or an unknown session
// ends it. Ids only grow: the epoch above, a counter below. Roles are checked here, for every type
// of message, in one table. Loop thread only.
//
//   HELLO -> open -> accept(n = 1, 2, 3 …) -> ended: a newer HELLO of the same worker or peer,
//                                             a gap, a send that failed, silence, a close (clients)
//
// Silence of workers lives here too, as the planner wants it: their presence is in memory only,
// and after a start everybody was last heard "now".
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"
#include "common/net/transport.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "master/core/planner.h"
#include "master/core/queue.h"

namespace capstan::api {

/// What a Welcome tells everybody.
struct Cluster {
  Uuid id;
  Generation generation;
  std::string node;
  std::vector<Member> members;
  std::uint64_t members_version = 0;
  Micros heartbeat_every{0};
};

struct Session {
  SessionId id;
  net::PeerId peer;
  net::Identity identity;
  wire::SessionEnd end;
  TimePoint last_heard;  ///< As entries count time.
  bool over = false;     ///< Nothing is sent or taken any more; sweep() removes it.

  // Of workers.
  WorkerId worker;  ///< 0: a client's session.
  Instance instance;
  std::uint64_t hello = 0;            ///< The number of the HELLO that opened it.
  bool welcomed = false;              ///< Its HELLO is durable and Welcome left.
  std::set<JobId> templates;          ///< Sent in this session.
  std::set<JobId> follows;            ///< Jobs whose output it was told to deliver live …
  std::uint64_t follows_version = 0;  ///< … and which state of Watches::followed() that was.
  int log_chunks = 0;                 ///< Not acknowledged yet.
};

/// Who may send what to a master.
struct MessageRule {
  unsigned roles = 0;  ///< A bit for each Role; 0: nobody says this to a master.
  bool in_session = true;
};
[[nodiscard]] const MessageRule& message_rule(const msg::Body& body);
[[nodiscard]] constexpr unsigned role_bit(Role role) {
  return 1U << static_cast<unsigned>(role);
}

/// A protocol that we do not speak, read from the head of a HELLO or Enrol that need not decode
/// otherwise: newer versions have more fields.
[[nodiscard]] std::optional<std::uint32_t> foreign_protocol(std::string_view frame);

class Sessions {
 public:
  Sessions(net::Listener& listener, Cluster cluster, Epoch epoch);

  [[nodiscard]] const Cluster& cluster() const { return cluster_; }

  /// After a start: everybody whom the queue believes present was heard at `at`.
  void assume_present(const Queue& queue, TimePoint at);

  /// Replaces any session of this worker or peer.
  Session& open_worker(net::PeerId peer, const net::Identity& identity, WorkerId worker,
                       Instance instance);
  /// Errc::Unavailable beyond kClients.
  Result<Session*> open_client(net::PeerId peer, const net::Identity& identity);
  [[nodiscard]] msg::Welcome welcome(const Session& session) const;

  /// A message of this session arrived: its sender is there, however long the message waits for its
  /// turn.
  void hear(net::PeerId peer, SessionId id, TimePoint at);
  /// The session that `message` belongs to and continues; null: it is over, NeedHello was sent.
  Session* accept(net::PeerId peer, const msg::Message& message);
  [[nodiscard]] Session* find(SessionId id);
  [[nodiscard]] Session* of_worker(WorkerId worker);
  void end(SessionId id);
  void end_worker(WorkerId worker, Instance instance);
  void on_closed(net::PeerId peer);

  /// Numbers, encodes and sends. A failure ends the session: the next message would be a gap.
  void send(Session& session, msg::Body body);
  void send_to(net::PeerId peer, msg::Body body);
  void need_hello(net::PeerId peer, SessionId over, std::string reason);
  void refuse(net::PeerId peer, Errc code, std::string reason);
  /// Ends every session of this key and tells its peers why.
  void shut_out(const std::string& public_key, const std::string& reason);

  /// Heartbeats to all.
  void beat();
  /// Moves every silence on by the time that the loop itself was not running.
  void forgive(Micros slept);
  /// Ends clients that were silent since before `limit`.
  void expire_clients(TimePoint limit);
  /// Sessions that ended since the last call; they are gone now.
  std::vector<Session> sweep();

  /// The HELLO of an instance that a newer one of the same worker replaced: to be refused.
  [[nodiscard]] bool is_superseded(WorkerId worker, Instance instance) const;
  void supersede(WorkerId worker, Instance older);

  void set_now(TimePoint at) { at_ = at; }
  [[nodiscard]] const std::map<WorkerId, planner::Presence>& presence() const { return presence_; }
  /// Since this master's start.
  [[nodiscard]] bool was_heard(WorkerId worker) const { return heard_.contains(worker); }
  /// Of workers, all that are open.
  [[nodiscard]] std::vector<Session*> worker_sessions();
  [[nodiscard]] std::uint64_t refused_messages() const { return refused_; }
  /// Counts a message that was turned away; true when it is worth a line in the log (the first of
  /// each power of two).
  bool count_refused();

 private:
  static constexpr std::size_t kSupersededKept = 8;

  Session& open(net::PeerId peer, const net::Identity& identity);

  net::Listener& listener_;
  Cluster cluster_;
  Epoch epoch_;
  TimePoint at_;
  std::uint64_t counter_ = 0;
  std::size_t clients_ = 0;
  std::uint64_t refused_ = 0;
  std::map<SessionId, Session> sessions_;
  std::map<net::PeerId, SessionId> by_peer_;
  std::map<WorkerId, SessionId> by_worker_;
  std::map<net::PeerId, WorkerId> worker_peers_;  ///< Of the last HELLO, also when it is over.
  std::map<WorkerId, planner::Presence> presence_;
  std::map<WorkerId, std::deque<Instance>> superseded_;
  std::set<WorkerId> heard_;
  bool some_over_ = false;
};

}  // namespace capstan::api
