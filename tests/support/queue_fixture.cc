// SPDX-License-Identifier: MIT
#include "tests/support/queue_fixture.h"

#include <utility>

#include "master/core/invariants.h"

namespace capstan::test {

std::vector<Effect> QueueFixture::apply(Command command) {
  const bool is_reopening = std::holds_alternative<cmd::JobReopened>(command);
  wait(Micros(1));
  Entry entry;
  entry.seq = queue.last_seq().next();
  entry.epoch = Epoch(257);
  entry.at = now;
  entry.wall = wall;
  entry.command = std::move(command);
  std::vector<Effect> effects;
  RowChanges rows;
  queue.apply(entry, effects, rows);
  rows.tasks.sort();
  entries.push_back(entry);
  tables.apply(rows);
  if (!broken.empty()) return effects;
  broken = broken_invariant(queue);
  if (broken.empty()) broken = tables.broken();
  // A reopened job is not in the tables as live until the retry that follows in the same batch.
  if (broken.empty() && !is_reopening) broken = differs_from_tables();
  if (!broken.empty()) {
    broken += " (after entry " + std::to_string(entry.seq.value) + ", command " +
              std::to_string(entry.command.index() + 1) + ")";
  }
  return effects;
}

std::string QueueFixture::differs_from_tables() const {
  return Queue::difference(queue, Queue::load(tables.loaded(queue)));
}

WorkerId QueueFixture::add_worker(std::uint32_t cpus, std::uint64_t mem_bytes) {
  const WorkerId id = queue.next_worker();
  const std::string name = "w" + std::to_string(id.value);
  apply(cmd::WorkerEnrolled{id, name, "key of " + name});
  cmd::WorkerJoined joined = hello(id, cpus);
  joined.mem_bytes = mem_bytes;
  apply(std::move(joined));
  return id;
}

cmd::WorkerJoined QueueFixture::hello(WorkerId worker, std::uint32_t cpus) const {
  cmd::WorkerJoined hello;
  hello.worker = worker;
  hello.instance = an_id(worker.value * 100);
  hello.cpus = cpus;
  return hello;
}

JobId QueueFixture::submit(const JobBuilder& job, const std::string& owner) {
  const SubmissionId id = queue.next_submission();
  const JobId job_id = queue.next_job();
  const Asked asked = ask(owner);
  apply(cmd::SubmissionOpened{asked, id, "", "", job.spec()});
  apply(cmd::JobSubmitted{asked, id, job_id, 0, tables.ended(job.spec())});
  return job_id;
}

std::vector<Effect> QueueFixture::assign(WorkerId worker, JobId job,
                                         std::vector<std::uint32_t> tasks, std::uint32_t attempt) {
  cmd::TasksAssigned command{worker, job, AttemptNo(attempt), {}};
  for (const std::uint32_t task : tasks) command.tasks.emplace_back(task);
  return apply(std::move(command));
}

std::vector<Effect> QueueFixture::report(WorkerId worker, const AttemptResult& result) {
  return apply(cmd::ResultsReported{worker, queue.find_worker(worker)->row.instance, {result}});
}

std::vector<Effect> QueueFixture::start(WorkerId worker, AttemptKey key) {
  return apply(cmd::TasksStarted{worker, queue.find_worker(worker)->row.instance, {{key, {}}}});
}

std::vector<Effect> QueueFixture::lose(WorkerId worker) {
  return apply(cmd::WorkerLost{worker, queue.find_worker(worker)->row.instance, "silent"});
}

std::vector<Effect> QueueFixture::cancel(JobId job, std::vector<IndexSpan> spans) {
  return apply(cmd::JobCancelled{ask(), job, std::move(spans), true});
}

std::vector<Effect> QueueFixture::retry(JobId job, std::uint32_t states,
                                        std::vector<IndexSpan> spans) {
  if (queue.find_job(job) == nullptr) apply(tables.reopened(job));
  return apply(cmd::TasksRetried{ask(), job, std::move(spans), states, true});
}

void QueueFixture::end_backoffs() {
  while (!queue.backoff_jobs().empty()) {
    const Job& waiting = job(queue.backoff_jobs().begin()->second);
    cmd::BackoffsOver over{waiting.id, {}};
    for (const auto& [when, unused] : waiting.backoffs) {
      over.tasks.push_back(waiting.index_of(when.second));
    }
    apply(std::move(over));
  }
}

TaskState QueueFixture::state(JobId id, std::uint32_t task) const {
  const Job* live = queue.find_job(id);
  if (live == nullptr) return tables.tasks.at({id, TaskIndex(task)}).state;
  return live->task_state(*live->ordinal_of(TaskIndex(task)));
}

}  // namespace capstan::test
