// SPDX-License-Identifier: MIT
//
// The door to the network, as the loops see it. zmq_transport.h is the real one; tests/sim has one
// of its own. Frames are opaque bytes here. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"

namespace capstan::net {

/// One connected peer of a listener. Never used again within a process.
using PeerId = StrongId<struct PeerTag>;

/// Who a key belongs to, as its holder was authenticated: never a field of a message.
struct Identity {
  Role role = Role::User;
  std::string name;        ///< A user's or worker's unique name; "invitation" for enrolment.
  std::string public_key;  ///< Z85.
  bool operator==(const Identity&) const = default;
};

/// The listening side (a master). Every received frame comes with the identity of its key, checked
/// against the keys of now, not of when it connected.
class Listener {
 public:
  virtual ~Listener() = default;
  /// False when the peer is gone or its queue is full: the frame is dropped, nothing waits.
  virtual bool send(PeerId peer, std::string frame) = 0;
  /// Forget a peer: nothing of it is delivered any more.
  virtual void drop(PeerId peer) = 0;
};

/// The dialling side: one for each master.
class Dialer {
 public:
  virtual ~Dialer() = default;
  /// False when not connected or full: dropped.
  virtual bool send(std::string frame) = 0;
};

}  // namespace capstan::net
