// SPDX-License-Identifier: MIT
//
// LogPacks on a thread of its own: output that is written to the disk must not hold up a heartbeat.
// Everything that arrived while the last sync ran is stored with the next. The queue is bounded;
// callbacks are called on the writer's thread (the server posts them back to its loop).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "master/store/log_pack.h"

namespace capstan::store {

class LogWriter {
 public:
  using Stored = std::function<void(Result<void>)>;
  using Answered = std::function<void(Result<LogSlice>)>;
  using Listed = std::function<void(Result<std::vector<LogStream>>)>;
  using JobsListed = std::function<void(std::vector<JobId>)>;

  explicit LogWriter(std::string dir);
  /// What was posted is done first.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // From any thread, done in this order. False: the queue is full, nothing was taken and nothing
  // will be called; the peer sends it again later.
  bool post(msg::LogChunk chunk, Stored done);
  bool post_read(LogAsk ask, Answered done);
  bool post_remove(JobId job, Stored done);
  bool post_list(std::optional<LogStreamId> after, Listed done);
  bool post_list_jobs(JobsListed done);

 private:
  struct Append {
    msg::LogChunk chunk;
    Stored done;
  };
  struct Read {
    LogAsk ask;
    Answered done;
  };
  struct Remove {
    JobId job;
    Stored done;
  };
  struct List {
    std::optional<LogStreamId> after;
    Listed done;
  };
  struct ListJobs {
    JobsListed done;
  };
  using Order = std::variant<Append, Read, Remove, List, ListJobs>;

  bool enqueue(Order order, std::size_t bytes);
  void run();
  void carry_out(std::vector<Order> orders);
  void store(std::vector<msg::LogChunk>& chunks, std::vector<Stored>& done);

  LogPacks packs_;  // The writer's thread only.
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Order> orders_;  // Under the mutex, as what follows.
  std::size_t bytes_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace capstan::store
