// SPDX-License-Identifier: MIT
#include "common/model/job.h"

#include <fmt/format.h>

#include "common/model/limits.h"
#include "common/model/render.h"

namespace capstan {
namespace {

constexpr std::string_view kStates[] = {"queued", "running",   "paused", "succeeded",
                                        "failed", "cancelled", "skipped"};

tl::unexpected<Error> invalid(std::string message) {
  return fail(Errc::Invalid, std::move(message));
}

bool has_nul(const Bytes& bytes) {
  return bytes.find('\0') != Bytes::npos;
}

Result<void> validate_command(const JobSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return invalid("the command is empty: give it behind --");
  }
  if (spec.shell && spec.argv.size() != 1) {
    return invalid(fmt::format("--shell takes one shell line, not {} arguments: quote the line",
                               spec.argv.size()));
  }
  for (std::size_t i = 0; i < spec.argv.size(); ++i) {
    if (has_nul(spec.argv[i])) return invalid(fmt::format("argument {} has a NUL byte in it", i));
    if (spec.argv[i].size() > limits::kArgumentBytes) {
      return invalid(fmt::format(
          "argument {} has {} bytes, more than the {} that Linux takes: pass it in a file", i,
          spec.argv[i].size(), limits::kArgumentBytes));
    }
  }
  return {};
}

Result<void> validate_surroundings(const JobSpec& spec) {
  if (spec.name.size() > limits::kNameBytes) {
    return invalid(
        fmt::format("the name has {} bytes: use at most {}", spec.name.size(), limits::kNameBytes));
  }
  if (!is_utf8(spec.name)) return invalid("the name is not UTF-8: give another with --name");
  if (spec.cwd.empty() || spec.cwd[0] != '/') {
    return invalid(
        fmt::format("the working directory '{}' is not absolute: give a path that "
                    "begins with / with --cwd",
                    printable(spec.cwd)));
  }
  if (has_nul(spec.cwd)) return invalid("the working directory has a NUL byte in it");
  for (const EnvVar& var : spec.env) {
    if (var.name.empty() || var.name.find('=') != Bytes::npos || has_nul(var.name)) {
      return invalid(
          fmt::format("bad environment variable '{}': use --env NAME=VALUE", printable(var.name)));
    }
    if (has_nul(var.value) || var.name.size() + var.value.size() + 1 > limits::kArgumentBytes) {
      return invalid(fmt::format(
          "the value of the environment variable {} cannot be passed on: at most {} bytes, no NUL",
          printable(var.name), limits::kArgumentBytes));
    }
  }
  return {};
}

Result<void> validate_numbers(const JobSpec& spec) {
  if (spec.cpus < 1 || spec.cpus > limits::kCpusPerTask) {
    return invalid(
        fmt::format("a task cannot have {} cpus: use 1 to {}", spec.cpus, limits::kCpusPerTask));
  }
  if (spec.retries > limits::kRetries) {
    return invalid(
        fmt::format("{} retries are too many: use at most {}", spec.retries, limits::kRetries));
  }
  if (spec.priority > limits::kPriorityMax || spec.priority < -limits::kPriorityMax) {
    return invalid(fmt::format("priority {} is out of range: use {} to {}", spec.priority,
                               -limits::kPriorityMax, limits::kPriorityMax));
  }
  if (spec.nice < limits::kNiceMin || spec.nice > limits::kNiceMax) {
    return invalid(fmt::format("nice {} is out of range: use {} to {}", spec.nice, limits::kNiceMin,
                               limits::kNiceMax));
  }
  return {};
}

Result<void> validate_duration(std::string_view what, Micros d) {
  if (d.count() < 0 || d > limits::kDurationMax) {
    return invalid(fmt::format("the {} is out of range: use a duration up to {}d, such as 10m",
                               what, limits::kDurationMax / std::chrono::days(1)));
  }
  return {};
}

Result<void> validate_times(const JobSpec& spec) {
  TRY(validate_duration("time limit", spec.time_limit));
  TRY(validate_duration("backoff", spec.backoff));
  TRY(validate_duration("stall limit", spec.stall_limit));
  if (spec.begin_at.us < 0) return invalid("the begin lies before 1970: give a later one");
  if (spec.begin_at.us > limits::kBeginMaxUs)
    return invalid("the begin lies behind the year 9999: give an earlier one");
  return {};
}

Result<void> validate_files(const JobSpec& spec) {
  if (spec.script.size() > limits::kScriptBytes) {
    return invalid(
        fmt::format("the script has {} bytes, at most {} are sent: put it where the "
                    "workers can read it and give its path",
                    spec.script.size(), limits::kScriptBytes));
  }
  if (!spec.script.empty() && spec.shell) {
    return invalid(
        "--script and --shell exclude each other: a script names what runs it in its first line");
  }
  for (const Bytes* path : {&spec.output_path, &spec.error_path}) {
    if (path->size() > limits::kPathBytes || has_nul(*path)) {
      return invalid(fmt::format("the output path '{}' cannot be one: at most {} bytes, no NUL",
                                 printable(path->substr(0, limits::kNameBytes)),
                                 limits::kPathBytes));
    }
  }
  return {};
}

Result<void> validate_jobs(const std::vector<JobId>& jobs) {
  if (jobs.size() > limits::kAfterJobs) {
    return invalid(fmt::format("{} jobs to run after are too many: use at most {}", jobs.size(),
                               limits::kAfterJobs));
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].value == 0 || (i > 0 && jobs[i] <= jobs[i - 1])) {
      return invalid("the jobs to run after are not in ascending order: name each once");
    }
  }
  return {};
}

Result<void> validate_tags(const std::vector<std::string>& tags) {
  if (tags.size() > limits::kTags) {
    return invalid(fmt::format("{} tags are too many: use at most {}", tags.size(), limits::kTags));
  }
  for (const std::string& tag : tags) {
    if (tag.empty() || tag.size() > limits::kNameBytes || !is_utf8(tag)) {
      return invalid(fmt::format("bad tag '{}': use 1 to {} bytes of UTF-8",
                                 printable(tag.substr(0, limits::kNameBytes)), limits::kNameBytes));
    }
  }
  return {};
}

Result<void> validate_inputs(const JobSpec& spec) {
  const bool one = spec.inputs_per_task == 1;
  if (!one && !spec.has_inputs) return invalid("a job without inputs cannot have a batch of them");
  if (spec.inputs_per_task < 1 || spec.inputs_per_task > limits::kInputsPerTask) {
    return invalid(fmt::format("{} inputs for one task: use 1 to {}", spec.inputs_per_task,
                               limits::kInputsPerTask));
  }
  return {};
}

Result<void> validate_ranges(const std::vector<IndexRange>& ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const IndexRange& range = ranges[i];
    if (range.step == 0 || range.first > range.last) {
      return invalid(fmt::format("bad range {}-{}:{}: use FIRST-LAST:STEP, ascending", range.first,
                                 range.last, range.step));
    }
    if (range.last > limits::kIndexMax) {
      return invalid(
          fmt::format("index {} is too large: use at most {}", range.last, limits::kIndexMax));
    }
    if (i > 0 && range.first <= ranges[i - 1].last) {
      return invalid(fmt::format("the ranges overlap at {}: name each index once", range.first));
    }
  }
  return {};
}

Result<void> validate_indices(const JobSpec& spec) {
  if (spec.has_inputs && spec.array) {
    return invalid("a job is an array or has inputs, not both: leave one out");
  }
  if (spec.has_inputs && spec.indices.empty()) return {};  // Not counted yet.
  if (spec.indices.empty()) return invalid("the job has no tasks: give an index or an input");
  TRY(validate_ranges(spec.indices));
  if (!spec.array) {
    const IndexRange& range = spec.indices.front();
    const bool plain = spec.indices.size() == 1 && range.first == 1 && range.step == 1;
    if (!plain || (!spec.has_inputs && range.last != 1)) {
      return invalid("only an array chooses its indices: use --array");
    }
  }
  if (const std::uint64_t count = task_count(spec); count > limits::kTasksPerJob) {
    return invalid(
        fmt::format("{} tasks are too many for one job: use at most {} and submit the "
                    "rest as another",
                    count, limits::kTasksPerJob));
  }
  return {};
}

/// As it is kept and sent, the numbers aside.
std::size_t template_bytes(const JobSpec& spec) {
  std::size_t sum = spec.name.size() + spec.cwd.size() + spec.indices.size() * sizeof(IndexRange);
  for (const Bytes& argument : spec.argv) sum += argument.size() + 1;
  for (const EnvVar& var : spec.env) sum += var.name.size() + var.value.size() + 2;
  for (const std::string& tag : spec.tags) sum += tag.size() + 1;
  sum += spec.script.size() + spec.output_path.size() + spec.error_path.size();
  sum += (spec.after.size() + spec.after_any.size()) * sizeof(JobId);
  return sum;
}

}  // namespace

std::uint64_t task_count(const JobSpec& spec) {
  std::uint64_t sum = 0;
  for (const IndexRange& range : spec.indices) sum += range.count();
  return sum;
}

Result<void> validate(const JobSpec& spec) {
  TRY(validate_command(spec));
  TRY(validate_surroundings(spec));
  TRY(validate_numbers(spec));
  TRY(validate_times(spec));
  TRY(validate_files(spec));
  TRY(validate_jobs(spec.after));
  TRY(validate_jobs(spec.after_any));
  TRY(validate_tags(spec.tags));
  TRY(validate_inputs(spec));
  TRY(validate_placeholders(spec));
  TRY(validate_indices(spec));
  if (const std::size_t bytes = template_bytes(spec); bytes > limits::kTemplateBytes) {
    return invalid(
        fmt::format("command, environment and ranges have {} bytes, at most {} fit: "
                    "pass long lists as inputs (::: or --each-line)",
                    bytes, limits::kTemplateBytes));
  }
  return {};
}

std::string_view to_string(JobState state) {
  const auto number = static_cast<std::size_t>(state);
  return number < std::size(kStates) ? kStates[number] : "unknown";
}

Result<JobState> parse_job_state(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kStates); ++i) {
    if (text == kStates[i]) return static_cast<JobState>(i);
  }
  return invalid(
      fmt::format("unknown job state '{}': use {}", printable(text), fmt::join(kStates, ", ")));
}

}  // namespace capstan
