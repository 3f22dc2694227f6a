// SPDX-License-Identifier: MIT
//
// Asks the nodes of a cluster how they see it, and has one of them do something: without a session,
// because it is asked most when nobody leads. One dialer for each master that is known; a node that
// does not answer is left out. Loop thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/interrupts.h"
#include "cli/outcome.h"
#include "common/base/clock.h"
#include "common/net/event_loop.h"
#include "common/net/zmq_transport.h"
#include "common/wire/message.h"

namespace capstan::cli {

/// The cluster as one node sees it.
struct SeenCluster {
  Epoch epoch;
  msg::ClusterView view;
  [[nodiscard]] bool is_of_primary() const {
    return !view.primary.empty() && view.primary == view.name;
  }
};

/// What all of them say together: the primary's view, of two that believe to be it the one of the
/// higher epoch; without a primary the view of the highest epoch. Who answered is reachable.
/// REQUIRES: `seen` is not empty.
SeenCluster merged(const std::vector<SeenCluster>& seen);

/// The standby, when it answered and its primary says that it has everything; else "".
std::string standby_in_sync(const std::vector<SeenCluster>& seen);

class ClusterAsker {
 public:
  struct Options {
    net::Access access;
    Micros timeout{0};
    const Interrupts* interrupts = nullptr;  ///< May be null.
  };
  static Outcome<std::unique_ptr<ClusterAsker>> open(net::EventLoop& loop, Options options);
  ~ClusterAsker();
  ClusterAsker(const ClusterAsker&) = delete;
  ClusterAsker& operator=(const ClusterAsker&) = delete;

  /// The others answer within this of the first one, or are taken for gone.
  static constexpr Micros kOthers = std::chrono::seconds(1);
  /// Until all have answered, or `others` after the first one did. Nobody: exit 75.
  Outcome<std::vector<SeenCluster>> look(Micros others = kOthers);
  /// Has `node` do it, which is one that answered look(). A refusal is exit 3, "not now" 75. Who
  /// hands over begins anew, perhaps before its answer has left: then it counts as begun.
  Outcome<void> control(const std::string& node, msg::ClusterControl order);
  /// Asks a standby, which is one that answered look(), for a backup or a piece of one.
  Outcome<msg::BackupData> read_backup(const std::string& node, msg::ReadBackup read);
  /// Lets the loop run for so long.
  Outcome<void> pause(Micros span);

 private:
  struct Link;
  ClusterAsker(net::EventLoop& loop, Options options);
  Outcome<void> dial(Link& link);
  Outcome<Link*> find(const std::string& node) const;
  void say(Link& link, msg::Body body);
  void on_frame(Link& link, std::string_view frame);
  /// False: the deadline came first.
  Outcome<bool> run_until(const std::function<bool()>& done, TimePoint deadline);
  [[nodiscard]] Failure nobody() const;

  net::EventLoop& loop_;
  Options options_;
  SystemClock clock_;
  net::ZmqContext context_;
  std::vector<std::unique_ptr<Link>> links_;
  std::uint64_t query_ = 0;
  std::optional<msg::ClusterDone> done_;
  std::optional<Result<msg::BackupData>> piece_;
  std::string refused_;  ///< Why the last one did not take our key.
};

}  // namespace capstan::cli
