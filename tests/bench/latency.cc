// SPDX-License-Identifier: MIT
//
// bench-latency ACCESS N PROGRAM: one connected client submits a job of one task, N times one after
// the other, and prints the time from submitting to the job's end of each, in µs, one a line.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cli/client.h"
#include "cli/job_submission.h"
#include "cli/job_watch.h"
#include "common/net/keys.h"

namespace capstan::cli {
namespace {

Outcome<Micros> one(Client& client, const Bytes& program) {
  JobSpec spec;
  spec.name = "latency";
  spec.cwd = "/";
  spec.argv = {program};
  spec.indices = {{1, 1, 1}};
  const JobSubmission submission(spec, {});
  const TimePoint began = client.now();
  const msg::Submitted submitted = TRY(client.submit(submission));
  const JobWatch watch(client, {submitted.job, false, false}, nullptr);
  TRY(client.run_while_waiting([&] { return watch.is_finished() || watch.failure(); }));
  if (watch.failure()) return tl::unexpected<Failure>(*watch.failure());
  if (watch.job()->state != JobState::Succeeded)
    return fail_with(kExitFailed, "the task did not succeed");
  return client.now() - began;
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
  for (long i = 0; i < count; ++i) {
    const Micros took = TRY(one(*client, program));
    std::printf("%lld\n", static_cast<long long>(took.count()));
  }
  return {};
}

}  // namespace
}  // namespace capstan::cli

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench-latency ACCESS N PROGRAM\n");
    return 2;
  }
  const auto done = capstan::cli::run(argv[1], std::strtol(argv[2], nullptr, 10), argv[3]);
  if (done) return 0;
  std::fprintf(stderr, "bench-latency: %s\n", done.error().message.c_str());
  return done.error().exit_code;
}
