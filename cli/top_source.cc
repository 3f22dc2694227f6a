// SPDX-License-Identifier: MIT
#include "cli/top_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/worker_names.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

/// Finished jobs that are shown besides the live ones.
constexpr std::uint32_t kRecentJobs = 50;
/// Tasks of a job that are shown, of each kind: what runs, what failed, what is next, what is done.
constexpr std::uint32_t kTasksOfAKind = 200;
constexpr std::uint64_t kTailBytes = 8192;

std::uint32_t bits(std::initializer_list<TaskState> states) {
  std::uint32_t all = 0;
  for (const TaskState state : states) all |= 1U << static_cast<unsigned>(state);
  return all;
}

}  // namespace

/// `take` gets the answer; a refusal of one question leaves the others.
template <class Answer, class Question, class Take>
void TopSource::ask(Question question, Take take) {
  ++owed_;
  client_.query(std::move(question), [this, take](Result<msg::Body> reply) {
    Answer* answer = reply ? std::get_if<Answer>(&*reply) : nullptr;
    if (answer != nullptr) {
      take(*answer);
    } else if (!reply) {
      failure_ = Failure{exit_code_of(reply.error().code), reply.error().message};
      next_.trouble = reply.error().message;
    }
    if (--owed_ == 0) finish();
  });
}

void TopSource::refresh(const top::View& view) {
  if (is_busy()) return;
  asked_at_ = client_.now();
  failure_.reset();
  next_ = top::Model();
  ++owed_;  // The picture is not complete before everything is asked.
  ask<msg::StatusReply>(msg::GetStatus{},
                        [this](msg::StatusReply& status) { next_.status = std::move(status); });
  ask<msg::WorkerList>(msg::ListWorkers{}, [this](msg::WorkerList& list) {
    next_.workers = std::move(list.workers);
    std::sort(next_.workers.begin(), next_.workers.end(),
              [](const auto& a, const auto& b) { return comes_before(a.name, b.name); });
  });
  ask_jobs(true);
  ask_jobs(false);
  const bool is_inside = view.page == top::Page::Tasks || view.page == top::Page::Task;
  if (is_inside) ask_tasks(view);
  if (view.page == top::Page::Task) {
    ask_attempts(view);
    ask_tail(view);
  } else {
    following_.reset();
    followed_ = JobId();
  }
  if (--owed_ == 0) finish();
}

void TopSource::ask_jobs(bool live_only) {
  msg::ListJobs list;
  list.live_only = live_only;
  list.limit = live_only ? static_cast<std::uint32_t>(limits::kRowsPerPage) : kRecentJobs;
  ask<msg::JobList>(list, [this](msg::JobList& answer) {
    for (msg::JobView& job : answer.jobs) {
      const bool is_there = std::any_of(next_.jobs.begin(), next_.jobs.end(),
                                        [&](const msg::JobView& had) { return had.id == job.id; });
      if (!is_there) next_.jobs.push_back(std::move(job));
    }
  });
}

void TopSource::ask_tasks(const top::View& view) {
  const std::uint32_t kinds[] = {
      bits({TaskState::Running, TaskState::Backoff}), bits({TaskState::Failed}),
      bits({TaskState::Waiting, TaskState::Ready}),
      bits({TaskState::Succeeded, TaskState::Cancelled, TaskState::Skipped})};
  for (const std::uint32_t states : kinds) {
    msg::ListTasks list;
    list.job = view.job;
    list.states = states;
    list.limit = kTasksOfAKind;
    ask<msg::TaskList>(list, [this](msg::TaskList& answer) {
      next_.has_more_tasks = next_.has_more_tasks || answer.more;
      for (msg::TaskView& task : answer.tasks) next_.tasks.push_back(std::move(task));
    });
  }
}

void TopSource::ask_attempts(const top::View& view) {
  msg::ListAttempts list;
  list.job = view.job;
  list.task = view.task;
  ask<msg::AttemptList>(
      list, [this](msg::AttemptList& answer) { next_.attempts = std::move(answer.attempts); });
}

void TopSource::ask_tail(const top::View& view) {
  if (followed_ != view.job) {
    followed_ = view.job;
    following_ = std::make_unique<JobWatch>(client_, JobWatch::Options{view.job, false, true});
  }
  const std::string name =
      fmt::format("{} {}", task_name(view.job, view.task), static_cast<unsigned>(view.stream));
  if (std::exchange(tail_of_, name) != name) tail_total_ = 0;
  msg::ReadLog read;
  read.job = view.job;
  read.task = view.task;
  read.stream = view.stream;
  read.offset = tail_total_ - std::min(tail_total_, kTailBytes);
  ++owed_;
  client_.query(std::move(read), [this](Result<msg::Body> reply) {
    if (auto* data = reply ? std::get_if<msg::LogData>(&*reply) : nullptr) {
      const bool is_end = data->offset + data->data.size() >= data->total;
      tail_total_ = data->total;
      next_.tail = is_end ? std::move(data->data) : model_.tail;
    } else if (!reply) {
      next_.tail_trouble = reply.error().message;
    }
    if (--owed_ == 0) finish();
  });
}

void TopSource::finish() {
  if (failure_ && pictures_ == 0) return;
  next_.at = SystemClock().wall();
  model_ = std::move(next_);
  measure();
  ++pictures_;
}

/// What finished since the last picture. A job that is new to us counts when it was submitted since
/// then; one that is no longer told of says nothing.
void TopSource::measure() {
  const TimePoint now = client_.now();
  std::map<JobId, std::uint64_t> after;
  std::map<JobId, Rate> rates;
  for (const msg::JobView& job : model_.jobs) {
    const std::uint64_t done = job.counts.finished();
    const auto known = before_.find(job.id);
    const bool is_new =
        known == before_.end() && pictures_ != 0 && job.submitted_at >= measured_at_;
    if (is_new) finished_ += done;
    if (known != before_.end() && done > known->second) finished_ += done - known->second;
    after[job.id] = done;
    if (is_finished(job.state)) continue;
    Rate& rate = rates[job.id] = std::move(job_rates_[job.id]);
    rate.add(now, done);
    model_.job_rates[job.id] = rate.per_second();
  }
  before_ = std::move(after);
  job_rates_ = std::move(rates);
  measured_at_ = model_.at;
  rate_.add(now, finished_);
  model_.per_second = rate_.per_second();
}

}  // namespace capstan::cli
