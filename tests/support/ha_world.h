// SPDX-License-Identifier: MIT
//
// A cluster of real failover machines on virtual disks, a virtual network and a virtual clock, and
// the invariants of docs/failover.md held against it after every step. Tests script it; tests/sim
// walks it at random. One thread; the same calls give the same run.
//
// A node says things to another over the connection that it dialled. A connection keeps the order
// of what is said on it and loses nothing while it lasts, unless the options say otherwise; what
// was on its way when it closed may still arrive, after what is said on the next one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/rng.h"
#include "tests/support/ha_node.h"

namespace capstan::test {

struct HaOptions {
  std::size_t data_nodes = 2;  ///< Ids 1 …
  std::size_t witnesses = 1;   ///< The ids behind them.
  std::uint32_t min_copies = 1;
  ha::Timers timers{};
  ha::Mutant mutant = ha::Mutant::None;
  std::uint64_t seed = 1;
  Micros latency{1'000};     ///< Of a message, at least.
  Micros latency_spread{0};  ///< And drawn on top of it.
  Micros sync{2'000};        ///< Of a write to the journal, at least.
  Micros sync_spread{0};
  unsigned lost_percent = 0;     ///< Of the messages, though their connection lasts.
  unsigned doubled_percent = 0;  ///< Arrive twice, the second time late.
  unsigned late_percent = 0;     ///< Of what was on its way when its connection closed.
  Micros clocks_apart{0};        ///< Wall clocks are wrong by up to so much, now and then.
  unsigned torn_permille = 0;    ///< Of the lists of actions: the node crashes in the middle.
};

class HaWorld {
 public:
  using Hits = std::map<std::string, std::uint64_t, std::less<>>;

  explicit HaWorld(HaOptions options);

  // Faults, and their ends.
  void start(NodeId id);
  void start_all();
  void crash(NodeId id);  ///< Unsynced writes are lost, or not.
  void pause(NodeId id);
  void resume(NodeId id);
  void cut(NodeId from, NodeId to);  ///< Nothing gets there; connections last until close().
  void heal(NodeId from, NodeId to);
  void heal_all();
  void silence(NodeId id);  ///< All ways to and from it are cut.
  void close(NodeId from, NodeId to);
  /// What an earlier life said last of its journal arrives once more, over a connection of that
  /// time. False: there is nothing of that kind.
  bool echo(NodeId from, NodeId to);
  /// The first that this process said of its journal arrives once more; `to` may be in another
  /// life.
  bool echo_first(NodeId from, NodeId to);
  void slow_disk(NodeId id, Micros extra);  ///< Each write to its journal takes so much longer.
  void lose_database(NodeId id);            ///< REQUIRES: it is down.
  void lose_vote(NodeId id, bool back_to_init);
  void keep_copy(NodeId id);
  bool put_copy_back(NodeId id);  ///< False: there is none of an earlier life.
  void diverge(NodeId id);        ///< Its tables differ from now on.
  void trim(NodeId id);
  void fail_next_snapshot() { snapshot_fails_ = true; }
  void set_options(const HaOptions& options) { options_ = options; }

  /// One batch through whoever leads and has nothing uncommitted. False: nobody does.
  bool submit();
  void control(NodeId id, const ha::event::Control& control);

  void run_until(TimePoint end);
  void run_for(Micros duration) { run_until(now_ + duration); }
  /// False: it did not become so in time.
  bool run_until(const std::function<bool()>& is_so, Micros within);

  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] VirtualNode& node(NodeId id) { return nodes_.at(id - 1U); }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] std::size_t data_nodes() const { return options_.data_nodes; }
  [[nodiscard]] Rng& rng() { return rng_; }
  [[nodiscard]] const HaOptions& options() const { return options_; }
  /// The node that leads in the highest epoch of those that are up; 0: none.
  [[nodiscard]] NodeId leader() const;
  [[nodiscard]] bool is_cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }
  /// Does this database have everything that was acknowledged?
  [[nodiscard]] bool has_everything(NodeId id) const;
  /// Batches that were acknowledged, in all.
  [[nodiscard]] std::size_t acknowledged() const { return truth_.size(); }

  /// The first broken invariant; nothing moves any more.
  [[nodiscard]] const std::string& error() const { return error_; }
  void fail(const std::string& what);
  [[nodiscard]] std::uint64_t trace_hash() const { return trace_hash_; }
  void print_trace() { prints_ = true; }
  [[nodiscard]] const std::vector<ha::action::Answer>& answers() const { return answers_; }
  /// How often each of these happened: transitions' sentences, events of notes, kinds of actions.
  [[nodiscard]] const Hits& hits() const { return hits_; }

 private:
  struct Connection {
    bool is_up = false;
    bool is_dialling = false;
    std::uint64_t number = 0;
    TimePoint last_arrival{};
    std::vector<msg::Message> stalled{};  ///< Said while the way is cut.
    std::uint64_t append_process = 0;     ///< That said these.
    std::optional<msg::Message> first_append{};
    std::optional<msg::Message> last_append{};
    std::optional<msg::Message> earlier_append{};  ///< The last one of the process before it.
  };
  struct Happening {
    TimePoint at;
    std::uint64_t order = 0;
    std::function<void()> what;
    bool operator>(const Happening& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void later(Micros delay, std::function<void()> what);
  Micros drawn(Micros least, Micros spread);
  void trace(NodeId id, const char* what, std::uint64_t value);
  Connection& connection(NodeId from, NodeId to) { return connections_[{from, to}]; }

  void dial(NodeId from, NodeId to);
  void hang_up(NodeId from, NodeId to);
  void say(NodeId from, NodeId to, msg::Message message);
  bool hear_again(NodeId from, NodeId to, const std::optional<msg::Message>& said);
  void remember(NodeId from, Connection& way, const msg::Message& message);
  void deliver(NodeId from, NodeId to, const msg::Message& message, Micros extra);

  void feed(VirtualNode& node, const ha::Event& event);
  void set_timer(VirtualNode& node);
  void act(VirtualNode& node, ha::Actions actions, std::vector<ha::Event>& answers);
  bool act_on(VirtualNode& node, const ha::Action& action, std::vector<ha::Event>& answers);
  void on_save_vote(VirtualNode& node, const Vote& vote);
  void on_lead(VirtualNode& node, const ha::action::Lead& lead);
  void on_commit(VirtualNode& node, Seq seq);
  void on_store(VirtualNode& node, ha::action::Store store);
  void on_make_snapshot(VirtualNode& node, NodeId peer);
  void on_fetch_snapshot(VirtualNode& node, const ha::action::FetchSnapshot& fetch);
  void on_note(VirtualNode& node, const ha::action::Note& note);
  void begin_anew(VirtualNode& node);
  ha::event::Sealed seal(VirtualNode& node);
  void sync(VirtualNode& node);
  void apply(VirtualNode& node, const JournalEnd& end);
  void acknowledge(VirtualNode& node, std::size_t batches);
  [[nodiscard]] WallTime wall();
  void count(std::string_view what);
  /// `what` happens unless the node's process is another by then.
  void later_in(VirtualNode& node, Micros delay, std::function<void(VirtualNode&)> what);
  void check_recorded(VirtualNode& node, const JournalEnd& end);

  HaOptions options_;
  Rng rng_;
  TimePoint now_{};
  std::vector<VirtualNode> nodes_;
  std::map<std::pair<NodeId, NodeId>, Connection> connections_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::priority_queue<Happening, std::vector<Happening>, std::greater<>> agenda_;
  std::uint64_t order_ = 0;
  std::uint64_t numbers_ = 0;
  std::map<NodeId, std::pair<VirtualDatabase, std::uint64_t>> copies_;  ///< And of which start.
  std::map<Uuid, VirtualDatabase> snapshots_;
  bool snapshot_fails_ = false;

  // What must hold.
  std::vector<JournalEnd> truth_;  ///< Acknowledged batches (I2, I3).
  std::map<Epoch, NodeId> leaders_;
  struct Recorded {
    std::vector<NodeId> isr{};
    std::set<NodeId> by{};
  };
  std::map<Epoch, std::map<std::uint64_t, Recorded>> recorded_;  ///< By ver (I4).
  std::set<Epoch> small_quorums_;  ///< Led by an override with lost voters: I4 cannot be asked.
  bool overrides_with_lost_ = false;
  std::set<Epoch> claims_;  ///< Of overrides: one that failed may be carried on by an election.

  std::vector<ha::action::Answer> answers_;
  Hits hits_;
  std::uint64_t trace_hash_ = 0;
  bool prints_ = false;
  std::string error_;
};

}  // namespace capstan::test
