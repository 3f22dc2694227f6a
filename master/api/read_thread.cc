// SPDX-License-Identifier: MIT
//
// Two locked queues and a thread. See read_thread.h.
#include "master/api/read_thread.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace capstan::api {

struct ReadThread::Impl {
  std::unique_ptr<store::Tables> tables;
  std::function<void()> wake;
  std::mutex mutex;
  std::condition_variable asked;
  std::deque<Question> questions;       // Under the mutex.
  std::vector<Completion> completions;  // Under the mutex.
  bool stopping = false;                // Under the mutex.
  std::thread thread;

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      asked.wait(lock, [this] { return stopping || !questions.empty(); });
      if (stopping) return;
      Question question = std::move(questions.front());
      questions.pop_front();
      lock.unlock();
      Completion completion = question(*tables);
      lock.lock();
      const bool first = completions.empty();
      completions.push_back(std::move(completion));
      if (first) {
        lock.unlock();
        wake();
        lock.lock();
      }
    }
  }
};

ReadThread::ReadThread(std::unique_ptr<store::Tables> tables, std::function<void()> wake)
    : impl_(std::make_unique<Impl>()) {
  impl_->tables = std::move(tables);
  impl_->wake = std::move(wake);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

ReadThread::~ReadThread() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->asked.notify_one();
  impl_->thread.join();
}

void ReadThread::post(Question question) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->questions.push_back(std::move(question));
  }
  impl_->asked.notify_one();
}

void ReadThread::run_completions() {
  std::vector<Completion> ready;
  {
    const std::lock_guard lock(impl_->mutex);
    ready.swap(impl_->completions);
  }
  for (Completion& completion : ready) completion();
}

}  // namespace capstan::api
