// SPDX-License-Identifier: MIT
//
// The options of `submit` and `run` that describe a job, and the template that they make. Whatever
// cannot run is refused here, before anything is sent. job_submission.h adds what is read.
#pragma once

#include <string>
#include <vector>

#include "cli/args.h"
#include "cli/outcome.h"
#include "cli/verb.h"
#include "common/model/job.h"
#include "common/model/limits.h"

namespace capstan::cli {

/// Bound to the options that describe a job.
struct JobOptions {
  std::string array;
  std::string each_line;
  bool null = false;
  std::uint32_t batch = 1;
  std::string script;
  std::string stdin_file;
  std::string output;
  std::string error;
  bool shell = false;
  std::string name;
  std::string cwd;
  std::vector<std::string> env;
  std::uint32_t cpus = 1;
  std::int32_t priority = 0;
  std::uint32_t retries = 0;
  Micros time_limit{0};
  Micros backoff{0};
  Micros stall_limit{0};
  std::uint32_t max_failures = 0;
  std::int32_t nice = limits::kNiceDefault;
  std::vector<std::string> tags;
  std::string begin;
  std::uint64_t mem_bytes = 0;
  std::vector<std::string> after;
  std::vector<std::string> after_any;
  bool hold = false;
  std::string token;
};
/// REQUIRES: `job.retries` is set to the default; it is what the text says.
void add_job_options(po::options_description& options, JobOptions& job);

/// What a template is made of besides what was typed.
struct Surroundings {
  Bytes cwd{};     ///< Absolute.
  Bytes script{};  ///< The text of --script.
  WallTime now{};
};
Outcome<JobSpec> make_spec(const JobOptions& job, const Words& words, const Surroundings& around);
/// The jobs of --after or --after-any: `17`, `17,18`, `last`.
struct AfterJobs {
  std::vector<JobId> jobs;  ///< Ascending, each once.
  bool has_last = false;    ///< One's newest job as well: only the master knows which that is.
};
Outcome<AfterJobs> parse_after(const char* option, const std::vector<std::string>& lists);
/// The lists of inputs that were typed. Exit 2 when several ways of listing tasks are mixed.
Outcome<std::vector<InputSource>> make_sources(const JobOptions& job, const Words& words);
/// "convert" of {"/usr/bin/convert", "-resize"}; of a shell line its first word.
std::string default_name(const std::vector<Bytes>& argv, bool shell);
/// `NAME=VALUE`, or `NAME` copied from `environment` (getenv's shape).
Outcome<EnvVar> parse_env(const std::string& text, const char* (*environment)(const char*));

}  // namespace capstan::cli
