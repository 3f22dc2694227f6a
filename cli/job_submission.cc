// SPDX-License-Identifier: MIT
#include "cli/job_submission.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "cli/access_lookup.h"
#include "common/base/print_error.h"
#include "common/model/limits.h"
#include "common/wire/codec.h"

namespace capstan::cli {

const char* const kCommandText =
    "Without a list there is one task. With --array there is one task for each index. With ':::' "
    "and words, '::::' and files, or --each-line and a file there is one task for each input, and "
    "these stand for it in the command:\n\n"
    "  {}    the input                  dir/photo.jpg\n"
    "  {.}   without its extension      dir/photo\n"
    "  {/}   its last part              photo.jpg\n"
    "  {//}  its directory              dir\n"
    "  {/.}  last part, no extension    photo\n"
    "  {#}   the task's number          42\n\n"
    "When none of them is used the input becomes the last argument. Inputs are bytes and arrive as "
    "they are: spaces, quotes, newlines and bytes that are not UTF-8 need no care.\n\n"
    "Several lists are combined: a task for each value of one with each of the others, the first "
    "list outermost; each file behind '::::' is a list. ':::+' and '::::+' link a list to the one "
    "before it: first with first, second with second, as long as the shorter one is. A task of "
    "combined lists, or of a --batch, has several inputs: {1} {2} {1.} {2/} … are one of them, {} "
    "{.} … all: each an argument of its own where nothing else is in the argument, else with "
    "spaces between.\n\n"
    "A task runs with PATH HOME USER LANG TZ TMPDIR of its worker, what --env adds, and "
    "CAPSTAN_JOB_ID, CAPSTAN_TASK_INDEX, CAPSTAN_ATTEMPT, CAPSTAN_INPUT, CAPSTAN_CPUS and "
    "CAPSTAN_WORKER. A command may run more than once; its result counts once.";

namespace {

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

}  // namespace

JobSubmission::JobSubmission(JobSpec spec, Contents contents) : contents_(std::move(contents)) {
  open_.request = RequestId::random();
  open_.token = contents_.token;
  open_.spec = std::move(spec);
  if (open_.spec.has_inputs) open_.spec.indices.clear();
  JobSpec lasting = open_.spec;
  lasting.begin_at = {};
  lasting.after.clear();
  lasting.after_any.clear();
  std::string encoded;
  wire::Writer writer(encoded);
  wire::put(writer, lasting);
  writer.finish();
  Digest digest = chained_digest(Digest{}, encoded + contents_.typed);
  if (open_.spec.has_stdin) digest = chained_digest(digest, contents_.stdin_data);
  digest = contents_.inputs.digest(digest);
  open_.digest.assign(reinterpret_cast<const char*>(digest.bytes), sizeof digest.bytes);
}

void JobSubmission::set_last(JobId job) {
  const auto add = [&](bool wanted, std::vector<JobId>& jobs) {
    const auto place = std::lower_bound(jobs.begin(), jobs.end(), job);
    if (wanted && (place == jobs.end() || *place != job)) jobs.insert(place, job);
  };
  add(contents_.after_last, open_.spec.after);
  add(contents_.after_any_last, open_.spec.after_any);
}

std::uint64_t JobSubmission::stdin_parts() const {
  return (contents_.stdin_data.size() + limits::kInputChunkBytes - 1) / limits::kInputChunkBytes;
}

msg::Body JobSubmission::part(std::uint64_t number) const {
  const std::uint64_t before = stdin_parts();
  if (number >= before) {
    return msg::SubmitInputs{open_.request, number, contents_.inputs.part(number - before)};
  }
  const auto offset = static_cast<std::size_t>(number * limits::kInputChunkBytes);
  return msg::SubmitStdin{open_.request, number,
                          contents_.stdin_data.substr(offset, limits::kInputChunkBytes)};
}

std::string typed_moments(const JobOptions& job) {
  std::string typed = "begin " + job.begin;
  for (const std::string& jobs : job.after) typed += " after " + jobs;
  for (const std::string& jobs : job.after_any) typed += " after-any " + jobs;
  return typed;
}

Outcome<std::unique_ptr<JobSubmission>> make_submission(const JobOptions& job, const Words& words) {
  const std::vector<InputSource> sources = TRY(make_sources(job, words));
  Surroundings around;
  around.cwd = TRY(absolute_cwd(job.cwd));
  if (words.has("script")) {
    around.script = TRY(read_file(job.script, limits::kScriptBytes,
                                  "put it where the workers can read it and give its path"));
  }
  around.now = SystemClock().wall();
  const JobSpec spec = TRY(make_spec(job, words, around));
  JobSubmission::Contents contents;
  contents.token = job.token;
  contents.typed = typed_moments(job);
  contents.after_last = TRY(parse_after("--after", job.after)).has_last;
  contents.after_any_last = TRY(parse_after("--after-any", job.after_any)).has_last;
  if (spec.has_stdin) {
    contents.stdin_data =
        TRY(read_file(job.stdin_file, limits::kStdinBytes, "put it where the workers can read it"));
  }
  if (spec.has_inputs) {
    contents.inputs = TRY(read_inputs({sources, job.null ? '\0' : '\n'}, spec));
  }
  return std::make_unique<JobSubmission>(spec, std::move(contents));
}

SubmittingVerb::SubmittingVerb(std::string name, std::string summary, std::uint32_t retries)
    : Verb(std::move(name), std::move(summary), {"", 0, 0, Shape::Command::Anywhere, true}) {
  job_.retries = retries;
  page_.synopsis = {
      "capstan " + name_ + " [OPTIONS] [--] COMMAND [ARGUMENT...] [::: INPUT...]...",
      "capstan " + name_ + " [OPTIONS] [--] COMMAND [ARGUMENT...] [:::: FILE...]...",
      "capstan " + name_ + " [OPTIONS] --script FILE [--] [ARGUMENT...] [::: INPUT...]..."};
  add_job_options(options_, job_);
}

Outcome<int> SubmittingVerb::run(const Words& words) {
  const auto submission = TRY(make_submission(job_, words));
  net::EventLoop loop;
  Interrupts interrupts;
  TRY(interrupts.install(loop));
  const auto client = TRY(connect(loop, *this, &interrupts));
  if (submission->wants_last()) {
    msg::GetJob get;
    get.which.kind = Selector::Kind::Last;
    submission->set_last(TRY(client->ask<msg::JobReply>(get)).job.id);
  }
  const msg::Submitted submitted = TRY(client->submit(*submission));
  if (!submitted.warning.empty() && !quiet_) {
    print_error("capstan {}: {}\n", name_, printable(submitted.warning));
  }
  return go_on({*client, interrupts, submission->open().spec, submitted});
}

}  // namespace capstan::cli
