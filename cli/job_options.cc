// SPDX-License-Identifier: MIT
#include "cli/job_options.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "cli/begin_time.h"
#include "common/base/config.h"
#include "common/model/limits.h"
#include "common/model/parse.h"
#include "common/model/render.h"

namespace capstan::cli {
namespace {

const char* from_environment(const char* name) {
  return std::getenv(name);
}

Bytes shell_line(const std::vector<Bytes>& words) {
  Bytes line;
  for (const Bytes& word : words) {
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line;
}

Outcome<void> fill_indices(JobSpec& spec, const JobOptions& job, const Words& words) {
  const std::vector<InputSource> sources = TRY(make_sources(job, words));
  spec.indices = {IndexRange{1, 1, 1}};
  if (words.has("array")) {
    ArraySpec array = TRY(as_usage(parse_array(job.array), "--array"));
    spec.array = true;
    spec.indices = std::move(array.indices);
    spec.max_running = array.max_running;
  }
  spec.has_inputs = !sources.empty();
  const auto lists = static_cast<std::uint32_t>(sources.size());
  if (job.batch > 1 && lists != 1) {
    return usage_error(lists == 0 ? "--batch gives several inputs to a task, and there are none: "
                                    "add ':::' and words, '::::' and a file, or --each-line"
                                  : "--batch takes one list of inputs: of several lists that are "
                                    "combined, each task gets one value of each");
  }
  spec.inputs_per_task = lists > 1 ? lists : job.batch;
  return {};
}

/// The files of one task must not be those of another.
Outcome<void> check_paths(const JobSpec& spec) {
  const auto check = [&](const char* option, const Bytes& pattern) -> Outcome<void> {
    if (pattern.empty() || pattern.starts_with("/dev/") || !(spec.array || spec.has_inputs) ||
        !is_one_path(spec, pattern)) {
      return {};
    }
    return usage_error(std::string(option) + ": all tasks would write to " + printable(pattern) +
                       ": put %t (the task's number)" +
                       (spec.has_inputs ? " or a placeholder such as {/}" : "") + " into it");
  };
  TRY(check("--output", spec.output_path));
  return check("--error", spec.error_path);
}

Outcome<std::vector<Bytes>> template_of(const JobOptions& job, const Words& words,
                                        const Surroundings& around) {
  if (words.has("script")) {
    if (around.script.empty()) {
      return usage_error("--script: " + printable(job.script) +
                         " is empty: there is nothing to run");
    }
    std::vector<Bytes> argv = words.command;
    const Bytes name = job.script.substr(job.script.rfind('/') + 1);
    argv.insert(argv.begin(), name == "-" ? "script" : name);
    return argv;
  }
  if (words.command.empty() || words.command.front().empty()) {
    return usage_error("there is no command: put one behind --, as in: -- echo hello");
  }
  return job.shell ? std::vector<Bytes>{shell_line(words.command)} : words.command;
}

using config::parsed;
using config::whole;

constexpr auto kMostFailures = static_cast<std::uint32_t>(limits::kTasksPerJob);

Result<Micros> read_limit(std::string_view text) {
  const Micros limit = TRY(parse_duration(text));
  if (limit > Micros(0)) return limit;
  return fail(Errc::Invalid, "0 is no time: leave the option out");
}

Result<std::uint64_t> read_memory(std::string_view text) {
  const std::uint64_t bytes = TRY(parse_size(text));
  if (bytes > 0) return bytes;
  return fail(Errc::Invalid, "0 is no memory: leave the option out");
}

// clang-format off
/// Which tasks there are.
void add_list_options(po::options_description& options, JobOptions& job) {
  options.add_options()
      ("array", po::value(&job.array)->value_name("RANGES"),
       "One task for each index: 1-100000, 1-99:2 (a step), 1-3,7,10-20; with %N behind it at "
       "most N run at once. The index is in $CAPSTAN_TASK_INDEX; nothing is added to the command.")
      ("each-line", po::value(&job.each_line)->value_name("FILE"),
       "One task for each line of FILE; - is standard input.")
      ("null,0", po::bool_switch(&job.null),
       "Inputs in files end with a NUL byte instead of a newline, as find -print0 writes them.")
      ("batch", parsed("batch", &job.batch, whole(1U, limits::kInputsPerTask))->value_name("N"),
       "Up to N inputs for one task: {} is all of them, {1} {2} … each.");
}

/// What each of them runs.
void add_command_options(po::options_description& options, JobOptions& job) {
  options.add_options()
      ("shell", po::bool_switch(&job.shell),
       "The command is one line for /bin/sh; inputs are quoted when they are filled in.")
      ("script", po::value(&job.script)->value_name("FILE"),
       "Send FILE and run it; the words behind the options are its arguments. What "
       "its first line names (#!/usr/bin/python3) runs it, else /bin/sh; - is standard input.")
      ("stdin", po::value(&job.stdin_file)->value_name("FILE"),
       "Send FILE (1 MiB at most); each task reads it as its standard input. - is ours.")
      ("output", po::value(&job.output)->value_name("PATTERN"),
       "Write each task's stdout to this file of its worker as well: %j is the job, %t the task, "
       "%a the attempt, %w the worker, %% a percent sign; {} and the like stand for inputs.")
      ("error", po::value(&job.error)->value_name("PATTERN"),
       "The same for stderr.")
      ("name", po::value(&job.name)->value_name("NAME"),
       "The job's name for people (default: that of its program).")
      ("tag", po::value(&job.tags)->value_name("TEXT"),
       "A label to find it by. Again for more.")
      ("cwd", po::value(&job.cwd)->value_name("DIR"),
       "Run in this directory of the worker (default: where you are).")
      ("env", po::value(&job.env)->value_name("NAME[=VALUE]"),
       "Add to the environment; without =VALUE the value is copied from here. Again for more.");
}

/// What each of them needs.
void add_need_options(po::options_description& options, JobOptions& job) {
  options.add_options()
      ("cpus", parsed("cpus", &job.cpus, whole(1U, limits::kCpusPerTask))->value_name("N"),
       "A task needs so many cpus (default 1), and is kept to them.")
      ("mem", parsed("mem", &job.mem_bytes, read_memory)->value_name("SIZE"),
       "A task needs so much memory: 512M, 2G. A worker is never given more than it has; a task "
       "that takes more than it asked for is killed.")
      ("nice",
       parsed("nice", &job.nice, whole(limits::kNiceMin, limits::kNiceMax))->value_name("N"),
       "Of the tasks' processes: -20 (first) to 19 (default 10).");
}

/// What happens when they fail.
void add_failure_options(po::options_description& options, JobOptions& job) {
  const std::string retries = "Run a task that fails again, up to N times more (default " +
                              std::to_string(job.retries) + ").";
  options.add_options()
      ("retries", parsed("retries", &job.retries, whole(0U, limits::kRetries))->value_name("N"),
       retries.c_str())
      ("backoff", parsed("backoff", &job.backoff, read_limit)->value_name("DURATION"),
       "Wait so long before the first retry; each further wait is twice as long (default 1s).")
      ("time-limit", parsed("time-limit", &job.time_limit, read_limit)->value_name("DURATION"),
       "Kill a task that runs longer: 90, 1.5s, 10m, 2h, 1d.")
      ("stall-limit", parsed("stall-limit", &job.stall_limit, read_limit)->value_name("DURATION"),
       "Kill a task that prints nothing for so long.")
      ("max-failures",
       parsed("max-failures", &job.max_failures, whole(1U, kMostFailures))->value_name("N"),
       "When N tasks have failed cancel the rest; the job fails.");
}

/// When, and before and after whom.
void add_order_options(po::options_description& options, JobOptions& job) {
  options.add_options()
      ("priority",
       parsed("priority", &job.priority, whole(-limits::kPriorityMax, limits::kPriorityMax))
           ->value_name("N"),
       "Jobs of a higher priority go first (default 0).")
      ("begin", po::value(&job.begin)->value_name("TIME"),
       "Not before: now+10m, 22:30, 2026-11-21, 2026-11-21T22:30, 2026-11-21T22:30:00Z.")
      ("after", po::value(&job.after)->value_name("JOB[,JOB...]"),
       "When all of these jobs succeeded (17, last); else it is skipped. Again for more.")
      ("after-any", po::value(&job.after_any)->value_name("JOB[,JOB...]"),
       "When all of these jobs are finished, however they ended. Again for more.")
      ("token", po::value(&job.token)->value_name("TEXT"),
       "The same token with the same contents gives the same job, however often it is submitted; "
       "with other contents exit 3.");
}
// clang-format on

}  // namespace

void add_job_options(po::options_description& options, JobOptions& job) {
  add_list_options(options, job);
  add_command_options(options, job);
  add_need_options(options, job);
  add_failure_options(options, job);
  add_order_options(options, job);
}

std::string default_name(const std::vector<Bytes>& argv, bool shell) {
  if (argv.empty()) return "";
  Bytes program = argv.front();
  if (shell) {
    const std::size_t begin = std::min(program.find_first_not_of(" \t\n"), program.size());
    program = program.substr(begin, program.find_first_of(" \t\n;|&", begin) - begin);
  }
  program = program.substr(program.rfind('/') + 1);
  std::string name = printable(program);
  if (name.size() > limits::kNameBytes) name = "command";
  return name.empty() ? "command" : name;
}

Outcome<EnvVar> parse_env(const std::string& text, const char* (*environment)(const char*)) {
  const std::size_t equals = text.find('=');
  EnvVar variable{text.substr(0, equals), ""};
  if (variable.name.empty()) {
    return usage_error("--env '" + printable(text) + "': say NAME=VALUE, or NAME to copy it");
  }
  if (equals != std::string::npos) {
    variable.value = text.substr(equals + 1);
    return variable;
  }
  const char* value = environment(text.c_str());
  if (value == nullptr) {
    return usage_error("--env " + printable(text) + ": it is not set here; set it, or say " +
                       printable(text) + "=VALUE");
  }
  variable.value = value;
  return variable;
}

Outcome<AfterJobs> parse_after(const char* option, const std::vector<std::string>& lists) {
  AfterJobs after;
  for (const std::string& list : lists) {
    std::size_t begin = 0;
    while (begin <= list.size()) {
      const std::size_t comma = std::min(list.find(',', begin), list.size());
      const Selector selector =
          TRY(as_usage(parse_selector(list.substr(begin, comma - begin)), option));
      if (selector.kind == Selector::Kind::All || !selector.tasks.empty()) {
        return usage_error(std::string(option) + ": " + printable(list) +
                           " is more or less than a job: use 17, 17,18 or last");
      }
      if (selector.kind == Selector::Kind::Last) {
        after.has_last = true;
      } else {
        after.jobs.push_back(selector.job);
      }
      begin = comma + 1;
    }
  }
  std::sort(after.jobs.begin(), after.jobs.end());
  after.jobs.erase(std::unique(after.jobs.begin(), after.jobs.end()), after.jobs.end());
  return after;
}

Outcome<std::vector<InputSource>> make_sources(const JobOptions& job, const Words& words) {
  const bool each_line = words.has("each-line");
  const int lists =
      (words.has("array") ? 1 : 0) + (each_line ? 1 : 0) + (words.sources.empty() ? 0 : 1);
  if (lists > 1) {
    return usage_error("give one of --array, --each-line, and ':::' or '::::', not several");
  }
  std::vector<InputSource> sources = words.sources;
  if (each_line) sources = {{InputSource::Kind::File, false, {job.each_line}}};
  const auto is_file = [](const InputSource& source) {
    return source.kind == InputSource::Kind::File;
  };
  if (job.null && std::none_of(sources.begin(), sources.end(), is_file)) {
    return usage_error(
        "-0 says how inputs end in a file, and there is none: add --each-line or "
        "'::::' and a file");
  }
  auto readers = std::count_if(sources.begin(), sources.end(), [&](const InputSource& source) {
    return is_file(source) && source.from.front() == "-";
  });
  readers += (job.script == "-" ? 1 : 0) + (job.stdin_file == "-" ? 1 : 0);
  if (readers > 1) {
    return usage_error(
        "standard input ('-') is wanted more than once, and can be read once: put "
        "the rest into files");
  }
  return sources;
}

Outcome<JobSpec> make_spec(const JobOptions& job, const Words& words, const Surroundings& around) {
  JobSpec spec;
  spec.shell = job.shell;
  spec.argv = TRY(template_of(job, words, around));
  spec.script = around.script;
  spec.name = job.name.empty() ? default_name(spec.argv, job.shell) : job.name;
  spec.cwd = around.cwd;
  for (const std::string& text : job.env) {
    spec.env.push_back(TRY(parse_env(text, from_environment)));
  }
  spec.cpus = job.cpus;
  spec.priority = job.priority;
  spec.retries = job.retries;
  spec.time_limit = job.time_limit;
  spec.backoff = job.backoff;
  spec.stall_limit = job.stall_limit;
  spec.max_failures = job.max_failures;
  spec.nice = job.nice;
  spec.tags = job.tags;
  spec.mem_bytes = job.mem_bytes;
  if (words.has("begin")) {
    spec.begin_at = TRY(as_usage(parse_begin(job.begin, around.now), "--begin"));
  }
  spec.after = TRY(parse_after("--after", job.after)).jobs;
  spec.after_any = TRY(parse_after("--after-any", job.after_any)).jobs;
  spec.hold = job.hold;
  spec.has_stdin = words.has("stdin");
  spec.output_path = job.output;
  spec.error_path = job.error;
  TRY(fill_indices(spec, job, words));
  TRY(as_usage(validate(spec)));
  TRY(check_paths(spec));
  if (!spec.has_inputs) {
    TRY(as_usage(render_command(spec, TaskIndex(spec.indices.front().first), {})));
  }
  if (job.token.size() > limits::kTokenBytes) {
    return usage_error("--token: at most " + std::to_string(limits::kTokenBytes) + " bytes");
  }
  if (words.has("token") && (job.token.empty() || !is_utf8(job.token))) {
    return usage_error("--token: an empty one, or one that is not UTF-8, names nothing");
  }
  return spec;
}

}  // namespace capstan::cli
