// SPDX-License-Identifier: MIT
#include "cli/job_options.h"

#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "common/base/config.h"
#include "common/model/limits.h"
#include "common/model/parse.h"
#include "common/model/render.h"
#include "common/wire/codec.h"

namespace capstan::cli {
namespace {

const char* from_environment(const char* name) {
  return std::getenv(name);
}

Outcome<Bytes> absolute_cwd(const std::string& asked) {
  if (asked.starts_with('/')) return asked;
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  if (error) {
    return usage_error("the current directory cannot be told (" + error.message() +
                       "): say which with --cwd");
  }
  return asked.empty() ? here.string() : (here / asked).lexically_normal().string();
}

Bytes joined(const std::vector<Bytes>& words) {
  Bytes line;
  for (const Bytes& word : words) {
    if (!line.empty()) line += ' ';
    line += word;
  }
  return line;
}

Outcome<void> fill_indices(JobSpec& spec, const JobOptions& job, const Words& words) {
  const bool is_array = words.has("array");
  const int lists = (is_array ? 1 : 0) + (words.has("each-line") ? 1 : 0) +
                    (words.source != InputSource::None ? 1 : 0);
  if (lists > 1) {
    return usage_error("give one of --array, --each-line, ':::' and '::::', not several");
  }
  spec.indices = {IndexRange{1, 1, 1}};
  if (is_array) {
    ArraySpec array = TRY(as_usage(parse_array(job.array), "--array"));
    spec.array = true;
    spec.indices = std::move(array.indices);
    spec.max_running = array.max_running;
  }
  spec.has_inputs = lists == 1 && !is_array;
  return {};
}

}  // namespace

void add_job_options(po::options_description& options, JobOptions& job) {
  using config::parsed;
  using config::whole;
  const std::string retries = "Run a task that fails again, up to N times more (default " +
                              std::to_string(job.retries) + ").";
  const auto read_limit = [](std::string_view text) -> Result<Micros> {
    const Micros limit = TRY(parse_duration(text));
    if (limit > Micros(0)) return limit;
    return fail(Errc::Invalid, "0 is no time: leave the option out for no limit");
  };
  // clang-format off
  options.add_options()
      ("array", po::value(&job.array)->value_name("RANGES"),
       "One task for each index: 1-100000, 1-99:2 (a step), 1-3,7,10-20; with %N behind it at "
       "most N run at once. The index is in $CAPSTAN_TASK_INDEX; nothing is added to the command.")
      ("each-line", po::value(&job.each_line)->value_name("FILE"),
       "One task for each line of FILE; - is standard input.")
      ("shell", po::bool_switch(&job.shell),
       "The command is one line for /bin/sh; inputs are quoted when they are filled in.")
      ("name", po::value(&job.name)->value_name("NAME"),
       "The job's name for people (default: that of its program).")
      ("cwd", po::value(&job.cwd)->value_name("DIR"),
       "Run in this directory of the worker (default: where you are).")
      ("env", po::value(&job.env)->value_name("NAME[=VALUE]"),
       "Add to the environment; without =VALUE the value is copied from here. Again for more.")
      ("cpus", parsed("cpus", &job.cpus, whole(1U, limits::kCpusPerTask))->value_name("N"),
       "A task needs so many cpus (default 1).")
      ("priority",
       parsed("priority", &job.priority, whole(-limits::kPriorityMax, limits::kPriorityMax))
           ->value_name("N"),
       "Jobs of a higher priority go first (default 0).")
      ("retries", parsed("retries", &job.retries, whole(0U, limits::kRetries))->value_name("N"),
       retries.c_str())
      ("time-limit", parsed("time-limit", &job.time_limit, read_limit)->value_name("DURATION"),
       "Kill a task that runs longer: 90, 1.5s, 10m, 2h, 1d.")
      ("token", po::value(&job.token)->value_name("TEXT"),
       "The same token with the same contents gives the same job, however often it is submitted; "
       "with other contents exit 3.");
  // clang-format on
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

Outcome<JobSpec> make_spec(const JobOptions& job, const Words& words, const Bytes& cwd) {
  if (words.command.empty() || words.command.front().empty()) {
    return usage_error("there is no command: put one behind --, as in: -- echo hello");
  }
  JobSpec spec;
  spec.shell = job.shell;
  spec.argv = job.shell ? std::vector<Bytes>{joined(words.command)} : words.command;
  spec.name = job.name.empty() ? default_name(spec.argv, job.shell) : job.name;
  spec.cwd = cwd;
  for (const std::string& text : job.env) {
    spec.env.push_back(TRY(parse_env(text, from_environment)));
  }
  spec.cpus = job.cpus;
  spec.priority = job.priority;
  spec.retries = job.retries;
  spec.time_limit = job.time_limit;
  spec.hold = job.hold;
  TRY(fill_indices(spec, job, words));
  TRY(as_usage(validate(spec)));
  if (!spec.has_inputs) {
    TRY(as_usage(render_command(spec, TaskIndex(spec.indices.front().first), "")));
  }
  if (job.token.size() > limits::kTokenBytes) {
    return usage_error("--token: at most " + std::to_string(limits::kTokenBytes) + " bytes");
  }
  if (words.has("token") && (job.token.empty() || !is_utf8(job.token))) {
    return usage_error("--token: an empty one, or one that is not UTF-8, names nothing");
  }
  return spec;
}

JobSubmission::JobSubmission(JobSpec spec, InputList inputs, std::string token)
    : inputs_(std::move(inputs)) {
  open_.request = RequestId::random();
  open_.token = std::move(token);
  open_.spec = std::move(spec);
  if (open_.spec.has_inputs) open_.spec.indices.clear();
  std::string encoded;
  wire::Writer writer(encoded);
  wire::put(writer, open_.spec);
  const Digest digest = inputs_.digest(chained_digest(Digest{}, encoded));
  open_.digest.assign(reinterpret_cast<const char*>(digest.bytes), sizeof digest.bytes);
}

Outcome<std::unique_ptr<JobSubmission>> make_submission(const JobOptions& job, const Words& words) {
  const Bytes cwd = TRY(absolute_cwd(job.cwd));
  JobSpec spec = TRY(make_spec(job, words, cwd));
  InputList inputs;
  if (spec.has_inputs) {
    InputRequest request{words.source, words.inputs};
    if (words.has("each-line")) request = {InputSource::Files, {job.each_line}};
    inputs = TRY(read_inputs(request, InputChecker(spec)));
  }
  return std::make_unique<JobSubmission>(std::move(spec), std::move(inputs), job.token);
}

}  // namespace capstan::cli
