// SPDX-License-Identifier: MIT
#include "worker/core/delivery.h"

#include <algorithm>

#include "common/model/limits.h"

namespace capstan {

bool Deliveries::has_more(const OutputState& output) {
  return output.next < output.total || (output.ended && !output.last_sent);
}

void Deliveries::enqueue(const OutputKey& key, OutputState& output) {
  if (output.queued || output.reading || !has_more(output)) return;
  output.queued = true;
  turn_.push_back(key);
}

void Deliveries::grew(const OutputKey& output, std::uint64_t total) {
  OutputState& state = streams_[output];
  state.total = std::max(state.total, total);
  enqueue(output, state);
}

void Deliveries::ended(const OutputKey& output, std::uint64_t total, Bytes tail) {
  OutputState& state = streams_[output];
  state.total = std::max(state.total, total);
  state.ended = true;
  state.tail = std::move(tail);
  enqueue(output, state);
}

std::vector<Deliveries::Read> Deliveries::next_reads() {
  std::vector<Read> reads;
  while (in_flight_ < limits::kLogChunksInFlight && !turn_.empty()) {
    const OutputKey key = turn_.front();
    turn_.pop_front();
    const auto it = streams_.find(key);
    if (it == streams_.end() || !it->second.queued) continue;
    OutputState& output = it->second;
    output.queued = false;
    if (!has_more(output)) continue;
    output.reading = true;
    ++output.in_flight;
    ++in_flight_;
    reads.push_back({key, output.next, output.total, output.ended});
  }
  return reads;
}

std::optional<Deliveries::Chunk> Deliveries::on_read(const OutputKey& key, std::uint64_t offset,
                                                     Bytes data) {
  const auto it = streams_.find(key);
  if (it == streams_.end() || !it->second.reading) return std::nullopt;
  OutputState& output = it->second;
  output.reading = false;
  if (data.empty() && !output.ended) {  // Perhaps with its next bytes.
    --output.in_flight;
    --in_flight_;
    return std::nullopt;
  }
  if (data.empty()) {  // What cannot be read is not there any more: the rest counts as dropped.
    const std::uint64_t tail_at = output.total - std::min(output.total, output.tail.size());
    offset = std::max(output.next, tail_at);
    data = output.tail.substr(
        static_cast<std::size_t>(std::min<std::uint64_t>(offset - tail_at, output.tail.size())));
  }
  offset = std::max(offset, output.next);
  output.next = offset + data.size();
  output.total = std::max(output.total, output.next);
  const bool last = output.ended && output.next >= output.total;
  output.last_sent = last;
  enqueue(key, output);
  return Chunk{key, offset, std::move(data), last};
}

bool Deliveries::on_ack(const OutputKey& key, std::uint64_t upto, bool last) {
  const auto it = streams_.find(key);
  if (it == streams_.end()) return false;
  OutputState& output = it->second;
  const int reads = output.reading ? 1 : 0;
  if (output.in_flight > reads) {
    --output.in_flight;
    --in_flight_;
  }
  output.acked = std::max(output.acked, std::min(upto, output.next));
  if (!last || !output.ended) return false;
  forget(key);
  return true;
}

void Deliveries::restart() {
  turn_.clear();
  in_flight_ = 0;
  for (auto& [key, output] : streams_) {
    output.next = output.acked;
    output.last_sent = output.reading = output.queued = false;
    output.in_flight = 0;
    enqueue(key, output);
  }
}

void Deliveries::forget(const OutputKey& key) {
  const auto it = streams_.find(key);
  if (it == streams_.end()) return;
  in_flight_ -= it->second.in_flight;
  streams_.erase(it);  // turn_ may still name it: skipped there.
}

void Deliveries::clear() {
  streams_.clear();
  turn_.clear();
  in_flight_ = 0;
}

}  // namespace capstan
