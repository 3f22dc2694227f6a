// SPDX-License-Identifier: MIT
//
// From the options of `submit` and `run` to a submission: the template, its inputs, and the digest
// that a token is held against. Whatever cannot run is refused here, before anything is sent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/inputs.h"
#include "cli/outcome.h"
#include "cli/verb.h"

namespace capstan::cli {

/// Bound to the options that describe a job.
struct JobOptions {
  std::string array;
  std::string each_line;
  bool shell = false;
  std::string name;
  std::string cwd;
  std::vector<std::string> env;
  std::uint32_t cpus = 1;
  std::int32_t priority = 0;
  std::uint32_t retries = 0;
  Micros time_limit{0};
  bool hold = false;
  std::string token;
};
/// REQUIRES: `job.retries` is set to the default; it is what the text says.
void add_job_options(po::options_description& options, JobOptions& job);

/// A job, ready to be sent.
class JobSubmission final : public Submission {
 public:
  JobSubmission(JobSpec spec, InputList inputs, std::string token);
  [[nodiscard]] const msg::SubmitOpen& open() const override { return open_; }
  [[nodiscard]] std::uint64_t parts() const override { return inputs_.parts(); }
  [[nodiscard]] std::uint64_t inputs() const override { return inputs_.size(); }
  [[nodiscard]] std::vector<Bytes> part(std::uint64_t number) const override {
    return inputs_.part(number);
  }

 private:
  msg::SubmitOpen open_;
  InputList inputs_;
};

/// Exit 2 with one line when it can't be meant. Reads the inputs, standard input only when asked.
Outcome<std::unique_ptr<JobSubmission>> make_submission(const JobOptions& job, const Words& words);

/// The parts of make_submission that read nothing. `cwd` is absolute.
Outcome<JobSpec> make_spec(const JobOptions& job, const Words& words, const Bytes& cwd);
/// "convert" of {"/usr/bin/convert", "-resize"}; of a shell line its first word.
std::string default_name(const std::vector<Bytes>& argv, bool shell);
/// `NAME=VALUE`, or `NAME` copied from `environment` (getenv's shape).
Outcome<EnvVar> parse_env(const std::string& text, const char* (*environment)(const char*));

}  // namespace capstan::cli
