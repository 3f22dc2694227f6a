// SPDX-License-Identifier: MIT
//
// bench-latency ACCESS N PROGRAM: one connected client submits a job of one task, N times one after
// the other, and prints the time from submitting to the job's end of each, in µs, one a line.
//
// With N = 0 it goes on until it is killed, whoever leads meanwhile, and says each at once: when
// the task's end was known (steady clock), until the submission was acknowledged, until the task's
// end; all in µs.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cli/client.h"
#include "cli/job_submission.h"
#include "cli/job_watch.h"
#include "common/net/keys.h"

namespace capstan::cli {
namespace {

struct Took {
  TimePoint end;
  Micros to_submit{0};
  Micros to_end{0};
};

Outcome<Took> one(Client& client, const Bytes& program) {
  JobSpec spec;
  spec.name = "latency";
  spec.cwd = "/";
  spec.argv = {program};
  spec.indices = {{1, 1, 1}};
  const JobSubmission submission(spec, {});
  const TimePoint began = client.now();
  const msg::Submitted submitted = TRY(client.submit(submission));
  const TimePoint acknowledged = client.now();
  const JobWatch watch(client, {submitted.job, false, false}, nullptr);
  TRY(client.run_while_waiting([&] { return watch.is_finished() || watch.failure(); }));
  if (watch.failure()) return tl::unexpected<Failure>(*watch.failure());
  if (watch.job()->state != JobState::Succeeded)
    return fail_with(kExitFailed, "the task did not succeed");
  const TimePoint end = client.now();
  return Took{end, acknowledged - began, end - began};
}

Outcome<void> without_end(Client& client, const Bytes& program) {
  for (;;) {
    const Took took = TRY(one(client, program));
    std::printf("%lld %lld %lld\n", static_cast<long long>(took.end.us),
                static_cast<long long>(took.to_submit.count()),
                static_cast<long long>(took.to_end.count()));
    std::fflush(stdout);
  }
}

Outcome<void> run(const std::string& access_file, long count, const Bytes& program) {
  auto access = net::read_access(access_file);
  if (!access) return fail_with(kExitUsage, access.error().message);
  net::EventLoop loop;
  Client::Options options;
  options.access = std::move(*access);
  options.timeout = std::chrono::seconds(30);
  options.verb = "bench-latency";
  const auto client = TRY(Client::open(loop, std::move(options)));
  TRY(one(*client, program));  // Connecting and the first of everything is not what is asked for.
  if (count == 0) return without_end(*client, program);
  for (long i = 0; i < count; ++i) {
    const Took took = TRY(one(*client, program));
    std::printf("%lld\n", static_cast<long long>(took.to_end.count()));
  }
  return {};
}

}  // namespace
}  // namespace capstan::cli

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench-latency ACCESS N PROGRAM   (N = 0: without end)\n");
    return 2;
  }
  const auto done = capstan::cli::run(argv[1], std::strtol(argv[2], nullptr, 10), argv[3]);
  if (done) return 0;
  std::fprintf(stderr, "bench-latency: %s\n", done.error().message.c_str());
  return done.error().exit_code;
}
