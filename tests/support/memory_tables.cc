// SPDX-License-Identifier: MIT
#include "tests/support/memory_tables.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "master/core/job.h"
#include "master/store/job_walk.h"

namespace capstan::test {
namespace {

template <class Map>
void upsert(Map& into, const Map& changes) {
  for (const auto& [key, row] : changes) into.insert_or_assign(key, row);
}

template <class Map, class Changes>
void upsert_or_delete(Map& into, const Changes& changes) {
  for (const auto& [key, row] : changes) {
    if (row) {
      into.insert_or_assign(key, *row);
    } else {
      into.erase(key);
    }
  }
}

std::vector<TaskIndex> indices_of(const JobRow& job) {
  std::vector<TaskIndex> all;
  for (const IndexRange& range : job.spec->indices) {
    for (std::uint64_t i = 0; i < range.count(); ++i) {
      all.emplace_back(static_cast<std::uint32_t>(range.first + i * range.step));
    }
  }
  return all;
}

}  // namespace

void MemoryTables::apply(const RowChanges& changes) {
  for (const auto& [job, span] : changes.archived) {
    auto it = tasks.lower_bound({job, TaskIndex(span.first)});
    for (; it != tasks.end() && it->first <= std::pair(job, TaskIndex(span.last)); ++it) {
      const TaskRow& row = it->second;
      if (row.ended)
        attempts.emplace(AttemptKey{job, it->first.second, row.attempt}, attempt_in(row));
    }
  }
  for (const auto& [job, row] : changes.deleted) {
    jobs.erase(job);
    const auto token = tokens.find({row.owner, row.token});
    if (token != tokens.end() && token->second.job == job) tokens.erase(token);
    deletions[job] = row.inputs;
  }
  upsert(jobs, changes.jobs);
  if (!jobs.empty()) next_job_ = std::max(next_job_, jobs.rbegin()->first.next());
  next_job_ = std::max(next_job_, changes.next_job);
  if (changes.min_copies != 0) min_copies_ = changes.min_copies;
  for (const auto& [key, row] : changes.tasks) tasks.insert_or_assign(key, *row);
  upsert_or_delete(attempts, changes.attempts);
  upsert(workers, changes.workers);
  upsert(keys, changes.keys);
  upsert(requests, changes.requests);
  upsert(tokens, changes.tokens);
  for (const auto& [id, row] : changes.submissions) {
    next_submission_ = std::max(next_submission_, id.next());
  }
  upsert_or_delete(submissions, changes.submissions);
  upsert(inputs, changes.inputs);
  for (const SubmissionId id : changes.inputs_dropped) {
    inputs.erase(inputs.lower_bound({id, 0}), inputs.lower_bound({id.next(), 0}));
  }
  for (const SweptRow& row : changes.swept) sweep(row);
  std::erase_if(requests, [&](const auto& each) {
    return each.second.steady_at <= changes.requests_forgotten;
  });
}

void MemoryTables::sweep(const SweptRow& row) {
  std::erase_if(tasks, [&](const auto& each) {
    return each.first.first == row.job && (row.last || each.first.second <= row.tasks_upto);
  });
  std::erase_if(attempts, [&](const auto& each) {
    return each.first.job == row.job && (row.last || each.first.task <= row.tasks_upto);
  });
  std::erase_if(inputs, [&](const auto& each) {
    return row.inputs && each.first.first == row.inputs &&
           (row.last || each.first.second <= row.inputs_upto);
  });
  if (row.last) deletions.erase(row.job);
}

LoadedState MemoryTables::loaded(const Queue& queue) const {
  LoadedState state;
  state.last_seq = queue.last_seq();
  state.last_epoch = queue.last_epoch();
  state.last_at = queue.last_at();
  state.next_job = next_job_;
  state.min_copies = min_copies_;
  state.deletions = deletions;
  state.next_submission = next_submission_;
  state.next_worker = workers.empty() ? WorkerId(1) : workers.rbegin()->first.next();
  state.workers = workers;
  state.keys = keys;
  state.submissions = submissions;
  state.requests = requests;
  state.tokens = tokens;
  for (const auto& [id, row] : jobs) {
    if (is_finished(row.state)) continue;
    LoadedState::LoadedJob& job = state.jobs.emplace_back();
    job.row = row;
    auto task = tasks.lower_bound({id, TaskIndex()});
    for (; task != tasks.end() && task->first.first == id; ++task) {
      TaskRow without_tails = task->second;
      without_tails.stdout_tail.clear();
      without_tails.stderr_tail.clear();
      job.add_task(task->first.second, std::move(without_tails));
    }
    auto attempt = attempts.lower_bound({id, TaskIndex(), AttemptNo()});
    for (; attempt != attempts.end() && attempt->first.job == id; ++attempt) {
      const TaskRow& row_of_task = tasks.at({id, attempt->first.task});
      if (is_finished(row_of_task.state) || row_of_task.round != attempt->second.round) continue;
      job.add_attempt(attempt->first, attempt->second);
    }
  }
  return state;
}

cmd::JobReopened MemoryTables::reopened(JobId id) const {
  const JobRow& row = jobs.at(id);
  cmd::JobReopened command;
  command.job = id;
  command.owner = row.owner;
  command.spec = *row.spec;
  command.submitted_at = row.submitted_at;
  command.started_at = row.started_at;
  command.token = row.token;
  command.inputs = row.inputs;
  command.cancelling = row.cancelling;
  command.skipping = row.skipping;
  command.priority = row.priority;
  command.reason = row.reason;
  command.launched = row.launched;
  command.mean_wall = row.mean_wall;
  for (const TaskIndex index : indices_of(row)) {
    const auto task = tasks.find({id, index});
    const bool has_row = task != tasks.end();
    cmd::JobReopened::Run run{1, store::untouched_state(row), AttemptNo(), has_row};
    if (has_row) {
      run.state = task->second.state;
      run.attempts = task->second.attempts;
      command.round = std::max(command.round, task->second.round);
    }
    const bool goes_on = !command.runs.empty() && command.runs.back().state == run.state &&
                         command.runs.back().attempts == run.attempts &&
                         command.runs.back().has_rows == run.has_rows;
    if (goes_on) {
      ++command.runs.back().count;
    } else {
      command.runs.push_back(run);
    }
  }
  return command;
}

std::vector<cmd::JobSubmitted::Ended> MemoryTables::ended(const JobSpec& spec) const {
  std::vector<cmd::JobSubmitted::Ended> ended;
  for (const std::vector<JobId>* named : {&spec.after, &spec.after_any}) {
    for (const JobId id : *named) {
      const auto row = jobs.find(id);
      if (row != jobs.end() && is_finished(row->second.state)) {
        ended.push_back({id, row->second.state});
      }
    }
  }
  return ended;
}

std::string MemoryTables::broken() const {
  for (const auto& [id, job] : jobs) {
    JobCounts counts;
    std::uint64_t with_rows = 0;
    for (auto it = tasks.lower_bound({id, TaskIndex()}); it != tasks.end(); ++it) {
      if (it->first.first != id) break;
      ++with_rows;
      ++count_of(counts, it->second.state);
    }
    count_of(counts, store::untouched_state(job)) += job.tasks - with_rows;
    if (!(counts == job.counts)) return "job " + std::to_string(id.value) + ": counts and rows";
  }
  for (const auto& [key, row] : tasks) {
    const auto& [job, index] = key;
    const std::string name = task_name(job, index);
    const bool has_attempt = row.ended || row.state == TaskState::Running;
    if (has_attempt && attempts.contains({job, index, row.attempt})) {
      return name + ": an attempt is in both tables";
    }
    std::uint32_t recorded = has_attempt ? 1 : 0;
    auto it = attempts.lower_bound({job, index, AttemptNo()});
    for (; it != attempts.end() && it->first.job == job && it->first.task == index; ++it)
      ++recorded;
    if (recorded + (row.number_free ? 1U : 0U) != row.attempts.value) {
      return name + ": " + std::to_string(recorded) + " attempts recorded of " +
             std::to_string(row.attempts.value);
    }
    if (is_finished(row.state) != (row.finished_seq.value != 0)) return name + ": finished_seq";
    if (row.state == TaskState::Succeeded && row.end != EndClass::Success) return name + ": winner";
  }
  return "";
}

}  // namespace capstan::test
