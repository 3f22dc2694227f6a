// SPDX-License-Identifier: MIT
#include "master/store/log_writer.h"

#include <utility>

namespace capstan::store {
namespace {

// Two chunks of 64 KiB for each of 500 workers are 64 MB: a worker that finds the queue full waits.
constexpr std::size_t kQueueBytes = 16 << 20;
constexpr std::size_t kQueueOrders = 4096;
constexpr std::size_t kListed = 256;

}  // namespace

LogWriter::LogWriter(std::string dir) : packs_(std::move(dir)), thread_([this] { run(); }) {}

LogWriter::~LogWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  thread_.join();
}

bool LogWriter::post(msg::LogChunk chunk, Stored done) {
  const std::size_t bytes = chunk.data.size();
  return enqueue(Append{std::move(chunk), std::move(done)}, bytes);
}

bool LogWriter::post_read(LogAsk ask, Answered done) {
  return enqueue(Read{ask, std::move(done)}, 0);
}

bool LogWriter::post_remove(JobId job, Stored done) {
  return enqueue(Remove{job, std::move(done)}, 0);
}

bool LogWriter::post_list(std::optional<LogStreamId> after, Listed done) {
  return enqueue(List{after, std::move(done)}, 0);
}

bool LogWriter::post_list_jobs(JobsListed done) {
  return enqueue(ListJobs{std::move(done)}, 0);
}

bool LogWriter::enqueue(Order order, std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (orders_.size() >= kQueueOrders || bytes_ + bytes > kQueueBytes) return false;
    orders_.push_back(std::move(order));
    bytes_ += bytes;
  }
  arrived_.notify_one();
  return true;
}

void LogWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    arrived_.wait(lock, [this] { return stopping_ || !orders_.empty(); });
    if (orders_.empty()) return;
    std::vector<Order> orders = std::exchange(orders_, {});
    bytes_ = 0;
    lock.unlock();
    carry_out(std::move(orders));
    lock.lock();
  }
}

void LogWriter::carry_out(std::vector<Order> orders) {
  std::vector<msg::LogChunk> chunks;
  std::vector<Stored> done;
  for (Order& order : orders) {
    if (auto* append = std::get_if<Append>(&order)) {
      chunks.push_back(std::move(append->chunk));
      done.push_back(std::move(append->done));
      continue;
    }
    store(chunks, done);
    if (auto* read = std::get_if<Read>(&order)) read->done(packs_.read(read->ask));
    if (auto* remove = std::get_if<Remove>(&order)) remove->done(packs_.remove(remove->job));
    if (auto* list = std::get_if<List>(&order)) list->done(packs_.list(list->after, kListed));
    if (auto* jobs = std::get_if<ListJobs>(&order)) jobs->done(packs_.jobs());
  }
  store(chunks, done);
}

void LogWriter::store(std::vector<msg::LogChunk>& chunks, std::vector<Stored>& done) {
  if (chunks.empty()) return;
  const Result<void> stored = packs_.append(chunks);
  for (const Stored& tell : done) tell(stored);
  chunks.clear();
  done.clear();
}

}  // namespace capstan::store
