// SPDX-License-Identifier: MIT
//
// The doors of api/doors.h as the process has them: the key ring, the packs of output and their
// thread, and what is known of the process itself.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/net/zmq_transport.h"
#include "master/api/doors.h"
#include "master/store/log_writer.h"

namespace capstan {

class KeyDoor final : public api::Keys {
 public:
  explicit KeyDoor(net::KeyRing& ring) : ring_(ring) {}
  void add(const net::Identity& identity) override { ring_.add(identity); }
  void remove(const std::string& public_key) override { ring_.remove(public_key); }
  [[nodiscard]] bool is_taken(const std::string& public_key) const override {
    return ring_.find(public_key).has_value();
  }

 private:
  net::KeyRing& ring_;
};

class HostDoor final : public api::Host {
 public:
  /// `dir`: the master's.
  HostDoor(const net::ZmqListener& listener, std::string dir)
      : listener_(listener), dir_(std::move(dir)) {}
  [[nodiscard]] std::string address_of(net::PeerId peer) const override {
    return listener_.address_of(peer);
  }
  [[nodiscard]] std::uint64_t refused_connections() const override;
  [[nodiscard]] std::uint64_t memory_bytes() const override;
  [[nodiscard]] Disk disk() const override;

 private:
  const net::ZmqListener& listener_;
  std::string dir_;
};

/// The packs' thread. Completions are kept here until the loop runs them.
class LogDoor final : public api::Logs {
 public:
  /// `wake` is called from the packs' thread: the loop shall call run_completions() soon.
  LogDoor(const std::string& dir, std::function<void()> wake);
  /// Writes what was posted; drops the completions.
  ~LogDoor() override;

  void append(Chunk chunk, std::function<void(Result<void>)> done) override;
  void read(const AttemptKey& key, Stream stream, std::uint64_t offset,
            std::function<void(Result<Part>)> done) override;
  void remove(JobId job, std::function<void(Result<void>)> done) override;
  void list_jobs(std::function<void(Result<std::vector<JobId>>)> done) override;
  void list(std::optional<StreamId> after,
            std::function<void(Result<std::vector<Extent>>)> done) override;
  /// On the loop.
  void run_completions();

 private:
  void complete(std::function<void()> completion);

  std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<std::function<void()>>
      completions_;                           // Under the mutex. Bounded by the writer's queue.
  std::unique_ptr<store::LogWriter> writer_;  // Last: its thread uses all of the above.
};

}  // namespace capstan
