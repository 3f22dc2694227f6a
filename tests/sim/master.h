// SPDX-License-Identifier: MIT
//
// The master's machine: the real Server between a virtual network and a store in memory. It is
// killed at any moment, also in the middle of a write, and comes back with what the disk kept.
// After every turn the queue's invariants are checked, every row written is held against what was
// written before, and every START against the queue.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/server.h"
#include "tests/sim/checked_store.h"
#include "tests/sim/network.h"
#include "tests/sim/output_packs.h"
#include "tests/sim/schedule.h"
#include "tests/support/alone.h"
#include "tests/support/memory_store.h"

namespace capstan::sim {

class Master final : private net::Listener,
                     private api::Reads,
                     private api::Logs,
                     private api::Keys,
                     private api::Host {
 public:
  /// Enrols `workers` by entries of its first reign, then serves.
  Master(Schedule& schedule, Network& network, const std::vector<net::Identity>& workers,
         QueueMutant mutant);
  ~Master() override;

  /// kill -9, and a new start after `down`. `in_write`: during its next write.
  void kill(Micros down, bool in_write);
  void start();

  [[nodiscard]] bool is_at_rest() const;
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  [[nodiscard]] std::uint64_t entries() const { return checked_.entries(); }
  [[nodiscard]] bool has_lost_a_worker() const { return checked_.has_lost_a_worker(); }
  [[nodiscard]] store::Tables& tables() { return store_; }
  [[nodiscard]] std::string describe() const;

 private:
  bool send(net::PeerId peer, std::string frame) override;
  void drop(net::PeerId peer) override;
  void post(api::Reads::Question question) override;
  void append(api::Logs::Chunk chunk, std::function<void(Result<void>)> done) override;
  void read(const AttemptKey& key, Stream stream, std::uint64_t offset,
            std::function<void(Result<api::Logs::Part>)> done) override;
  void remove(JobId job, std::function<void(Result<void>)> done) override;
  void add(const net::Identity&) override {}
  void remove(const std::string&) override {}
  [[nodiscard]] bool is_taken(const std::string&) const override { return false; }

  void enrol(const std::vector<net::Identity>& workers);
  void die(Micros down);
  void wake(TimePoint when);
  void turn();
  void note_hello(net::PeerId peer, std::string_view frame);
  void note_answer(net::PeerId peer, const msg::Message& message);
  void check_killed();
  void check_cancelled();
  void complain(const std::string& what);

  Schedule& schedule_;
  Network& network_;
  QueueMutant mutant_;
  test::MemoryStore store_;
  CheckedStore checked_;
  test::Alone alone_;
  std::unique_ptr<Server> server_;
  std::map<net::PeerId, std::string> worker_of_;  // Who is behind a peer, by its key.
  struct Hello {
    std::set<AttemptKey> held;  // And not told to be killed since.
    unsigned said = 0;
    bool welcomed = false;
  };
  std::map<net::PeerId, Hello> hellos_;
  std::map<net::PeerId, std::set<AttemptKey>> doomed_;  // Started and cancelled in one turn.
  OutputPacks packs_;
  std::uint64_t life_ = 0;
  std::uint32_t reigns_ = 0;
  TimePoint turns_ = TimePoint::never();
  TimePoint busy_until_;
  std::optional<Micros> dies_in_write_;
  std::string complaint_;
};

}  // namespace capstan::sim
