// SPDX-License-Identifier: MIT
//
// The output of a job's tasks, printed as a watch tells of it: what an ended attempt's result
// carries is printed at once, the rest is read by offset. Every attempt that prints is printed, so
// a task that runs again prints again. Bytes of one attempt's stream come in order and once, also
// across reconnects.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cli/client.h"
#include "cli/output.h"

namespace capstan::cli {

/// So long is waited for a worker's delivery without a word about it.
inline constexpr Micros kTellUndelivered = std::chrono::seconds(2);

/// Whether `index` lies in one of the ranges; an empty list means all.
bool is_selected(const std::vector<IndexRange>& ranges, TaskIndex index);

/// Somebody who prints what tasks print.
class TaskPrinter {
 public:
  virtual ~TaskPrinter() = default;
  virtual void on_ended(const msg::TaskEnded& ended) = 0;
  virtual void on_grew(const msg::OutputGrew& grew) = 0;
  /// A task that runs: what it printed before the watch began is read too.
  virtual void on_running(const msg::TaskView& task) = 0;
  /// Nothing that ended has output that is still to come.
  [[nodiscard]] virtual bool is_idle() const = 0;
};

class OutputPump final : public TaskPrinter {
 public:
  struct Options {
    JobId job;
    bool with_prefix = false;            ///< "17.42: " before every line.
    std::vector<IndexRange> only;        ///< Empty: all tasks.
    Output* out = nullptr;               ///< For stdout; null: not wanted.
    Output* err = nullptr;               ///< For stderr; null: not wanted.
    bool last_only = false;              ///< Of what ended, attempts before the last are left out.
    std::function<void()> before_print;  ///< The terminal is about to be written to; may be empty.
    std::function<void()> after_print;   ///< May be empty.
  };
  /// REQUIRES: the client outlives it, and no turn() runs after its end.
  OutputPump(Client& client, Options options) : client_(client), options_(std::move(options)) {}
  OutputPump(const OutputPump&) = delete;
  OutputPump& operator=(const OutputPump&) = delete;

  void on_ended(const msg::TaskEnded& ended) override;
  void on_grew(const msg::OutputGrew& grew) override;
  void on_running(const msg::TaskView& task) override;
  /// The watch says "this is now" (again): what was told while nobody listened is asked for.
  void on_caught_up();
  [[nodiscard]] bool is_idle() const override {
    return owed_ == 0 && in_flight_ == 0 && queue_.empty();
  }
  /// Prints unfinished lines.
  void finish();
  /// A write, or a read that was refused for another reason than being gone.
  [[nodiscard]] const std::optional<Failure>& failure() const { return failure_; }
  /// What was to be printed could not be.
  [[nodiscard]] bool is_broken() const { return is_broken_; }

 private:
  struct FlowKey {
    TaskIndex task;
    AttemptNo attempt;
    Stream stream;
    auto operator<=>(const FlowKey&) const = default;
  };
  /// One stream of one attempt that was not printed to its end yet.
  struct Flow {
    explicit Flow(std::string prefix) : lines(std::move(prefix)) {}
    LinePrefixer lines;
    std::uint64_t printed = 0;  ///< Offset behind what was printed.
    std::uint64_t dropped = 0;  ///< Bytes in front of `printed` that are not kept any more …
    std::uint64_t holes = 0;    ///< … in so many places.
    std::uint64_t upto = 0;     ///< Can be read, as far as was told.
    bool is_ended = false;
    bool is_asking = false;  ///< Queued or under way.
    bool has_news = false;   ///< Told of while the read was under way.
  };

  [[nodiscard]] Output* target(Stream stream) const {
    return stream == Stream::Stdout ? options_.out : options_.err;
  }
  Flow& flow_of(const FlowKey& key);
  /// Those behind `told` and before `last` ended while the task went on, so nobody told of them:
  /// what was not read while they ran is asked for. True: something is asked for.
  bool ask_for_earlier(TaskIndex task, AttemptNo told, AttemptNo last);
  void end_stream(const FlowKey& key, std::uint64_t total, std::string_view tail);
  void ask(const FlowKey& key, Flow& flow);
  /// An earlier attempt's stream is being read: it is printed first, whole.
  [[nodiscard]] bool is_behind(const FlowKey& key) const;
  void start_reads();
  void on_data(const FlowKey& key, const Result<msg::Body>& reply);
  void print(const FlowKey& key, Flow& flow, std::string_view bytes);
  void close(const FlowKey& key);
  void tell_dropped(const FlowKey& key, const Flow& flow);
  void write(Stream stream, const std::string& text);
  void flush();

  Client& client_;
  Options options_;
  std::map<FlowKey, Flow> flows_;
  std::set<FlowKey> closed_early_;  ///< Read to the end before the watch told of it.
  std::unordered_map<std::uint32_t, std::uint32_t> ended_;  ///< Task: its last attempt that ended.
  std::deque<FlowKey> queue_;
  std::size_t in_flight_ = 0;
  std::size_t owed_ = 0;  ///< Flows that ended and are not printed whole.
  std::optional<Failure> failure_;
  bool is_broken_ = false;
};

}  // namespace capstan::cli
