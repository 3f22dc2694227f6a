// SPDX-License-Identifier: MIT
//
// Which bytes of which output go to the master next. A stream that fits its result's tail never
// comes here, unless it was followed while it grew. Credit bounds what is on its way
// (kLogChunksInFlight); streams take turns, so that one of 16 MiB does not hold up a short one.
// Positions are byte offsets of the original stream. Pure; a part of the agent.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/model/task.h"

namespace capstan {

struct OutputKey {
  AttemptKey attempt;
  Stream stream = Stream::Stdout;
  auto operator<=>(const OutputKey&) const = default;
};

class Deliveries {
 public:
  /// A read that the shell is to make; answered by on_read.
  struct Read {
    OutputKey output;
    std::uint64_t offset = 0;
    std::uint64_t total =
        0;  ///< Of the stream, as known: what the file's ring holds depends on it.
    bool ended = false;
    bool operator==(const Read&) const = default;
  };
  struct Chunk {
    OutputKey output;
    std::uint64_t offset = 0;
    Bytes data;
    bool last = false;
  };

  /// The stream has `total` bytes.
  void grew(const OutputKey& output, std::uint64_t total);
  /// And never more. `tail`: its last bytes, in case that the file is not there.
  void ended(const OutputKey& output, std::uint64_t total, Bytes tail);
  [[nodiscard]] bool empty() const { return streams_.empty(); }
  [[nodiscard]] bool knows(const OutputKey& output) const { return streams_.contains(output); }
  /// The next reads, as far as credit allows. REQUIRES: an open session.
  [[nodiscard]] std::vector<Read> next_reads();
  /// The answer to a Read, before anything else happens here: `offset` is beyond what was asked for
  /// when bytes were dropped there. No chunk when there is nothing to say.
  [[nodiscard]] std::optional<Chunk> on_read(const OutputKey& output, std::uint64_t offset,
                                             Bytes data);
  /// A chunk's receipt. True when the stream is delivered whole: it is forgotten.
  bool on_ack(const OutputKey& output, std::uint64_t upto, bool last);
  /// A new session: what was on its way is sent again.
  void restart();
  void forget(const OutputKey& output);
  void clear();

 private:
  struct OutputState {
    std::uint64_t total = 0;
    std::uint64_t next = 0;   // The first byte not sent yet.
    std::uint64_t acked = 0;  // The first byte not confirmed.
    Bytes tail;               // When it ended.
    bool ended = false;
    bool last_sent = false;
    bool reading = false;
    bool queued = false;
    int in_flight = 0;
  };
  void enqueue(const OutputKey& key, OutputState& output);
  [[nodiscard]] static bool has_more(const OutputState& output);

  std::map<OutputKey, OutputState> streams_;
  std::deque<OutputKey> turn_;  // Those with something to send, in turn.
  int in_flight_ = 0;           // Reads and chunks without a receipt.
};

}  // namespace capstan
