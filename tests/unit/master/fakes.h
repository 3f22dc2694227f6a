// SPDX-License-Identifier: MIT
//
// The doors of a master on a bench: they answer at once or when they are told to, and remember what
// went through.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/net/transport.h"
#include "common/wire/codec.h"
#include "master/api/doors.h"
#include "master/store/store.h"
#include "tests/support/alone.h"
#include "tests/support/memory_store.h"
#include "tests/support/passing_store.h"

namespace capstan::test {

class FakeClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return {steady_us}; }
  [[nodiscard]] WallTime wall() const override { return {1'700'000'000'000'000 + steady_us}; }
  void advance(Micros d) { steady_us += d.count(); }
  std::int64_t steady_us = 5'000'000;
};

class FakeListener final : public net::Listener {
 public:
  bool send(net::PeerId peer, std::string frame) override {
    if (full.contains(peer)) return false;
    auto message = wire::decode(frame);
    REQUIRE_MESSAGE(message, message.error().message);
    sent[peer].push_back(std::move(*message));
    return true;
  }
  void drop(net::PeerId peer) override { sent.erase(peer); }
  [[nodiscard]] std::size_t total() const {
    std::size_t count = 0;
    for (const auto& [peer, messages] : sent) count += messages.size();
    return count;
  }
  std::map<net::PeerId, std::deque<msg::Message>> sent;
  std::set<net::PeerId> full;
};

/// Tells what had been sent when a batch was written.
class ObservedStore final : public PassingStore {
 public:
  ObservedStore(MemoryStore& behind, FakeListener& listener)
      : PassingStore(behind), listener_(listener) {}
  std::vector<std::size_t> sent_at_append;
  std::optional<int> dies_after;  ///< So many more are written.

  Result<void> append(const SealedBatch& sealed, const store::Batch& batch, const RowChanges& rows,
                      Seq applied) override {
    sent_at_append.push_back(listener_.total());
    if (dies_after && (*dies_after)-- == 0)
      return fail(Errc::OutcomeUnknown, "killed between two writes");
    return PassingStore::append(sealed, batch, rows, applied);
  }

 private:
  FakeListener& listener_;
};

class InlineReads final : public api::Reads {
 public:
  explicit InlineReads(store::Tables& tables) : tables_(tables) {}
  void post(Question question) override {
    ++posted;
    Completion completion = question(tables_);
    if (held)
      held->push_back(std::move(completion));
    else
      completion();
  }
  int posted = 0;
  std::optional<std::deque<Completion>> held;  ///< Set: completions wait here.

 private:
  store::Tables& tables_;
};

class FakeLogs final : public api::Logs {
 public:
  using StreamKey = std::pair<AttemptKey, Stream>;
  struct Kept {
    Bytes data;
    bool last = false;
  };
  void append(Chunk chunk, std::function<void(Result<void>)> done) override {
    const auto write = [this, chunk, done] {
      if (fault) return done(fail(*fault, "the log cannot be written"));
      Kept& kept = streams[{chunk.key, chunk.stream}];
      if (chunk.offset == kept.data.size()) kept.data += chunk.data;
      kept.last = kept.last || chunk.last;
      done({});
    };
    if (hold)
      held.emplace_back(write);
    else
      write();
  }
  void read(const AttemptKey& key, Stream stream, std::uint64_t offset,
            std::function<void(Result<Part>)> done) override {
    Part part;
    part.offset = offset;
    if (const auto it = streams.find({key, stream}); it != streams.end()) {
      if (offset < it->second.data.size()) part.data = it->second.data.substr(offset, 65536);
      part.total = it->second.data.size();
      part.end = it->second.last && offset + part.data.size() >= it->second.data.size();
    }
    done(part);
  }
  void remove(JobId job, std::function<void(Result<void>)> done) override {
    if (fault) return done(fail(*fault, "the log cannot be removed"));
    std::erase_if(streams, [&](const auto& each) { return each.first.first.job == job; });
    removed.push_back(job);
    done({});
  }
  void list_jobs(std::function<void(Result<std::vector<JobId>>)> done) override {
    std::set<JobId> jobs;
    for (const auto& [key, kept] : streams) jobs.insert(key.first.job);
    done(std::vector<JobId>(jobs.begin(), jobs.end()));
  }
  void list(std::optional<StreamId> after,
            std::function<void(Result<std::vector<Extent>>)> done) override {
    std::vector<Extent> all;
    auto it = after ? streams.upper_bound({after->key, after->stream}) : streams.begin();
    for (; it != streams.end() && all.size() < 2; ++it) {
      const auto& [key, kept] = *it;
      all.push_back({{key.first, key.second}, kept.data.size(), kept.last});
    }
    done(std::move(all));
  }
  std::vector<JobId> removed;
  std::map<StreamKey, Kept> streams;
  bool hold = false;
  std::deque<std::function<void()>> held;
  std::optional<Errc> fault;
};

class FakeHost final : public api::Host {
 public:
  [[nodiscard]] Disk disk() const override { return state; }
  Disk state;
};

class FakeKeys final : public api::Keys {
 public:
  void add(const net::Identity& identity) override { known[identity.public_key] = identity; }
  void remove(const std::string& key) override { known.erase(key); }
  [[nodiscard]] bool is_taken(const std::string& key) const override { return known.contains(key); }
  std::map<std::string, net::Identity> known;
};

}  // namespace capstan::test
