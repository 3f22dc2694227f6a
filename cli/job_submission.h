// SPDX-License-Identifier: MIT
//
// From what was typed to a submission: the template, the files and inputs that are read here, and
// the digest that a token is held against. And what `submit` and `run` have in common.
#pragma once

#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/interrupts.h"
#include "cli/job_options.h"
#include "cli/task_inputs.h"
#include "cli/verb.h"

namespace capstan::cli {

/// A job, ready to be sent.
class JobSubmission final : public Submission {
 public:
  /// What is sent beside the template.
  struct Contents {
    TaskInputs inputs{};
    Bytes stdin_data{};
    std::string token{};
    bool after_last = false, after_any_last = false;  ///< `last` is one of these jobs.
    std::string
        typed{};  ///< What --begin, --after … said: the digest's, for what it means changes.
  };
  JobSubmission(JobSpec spec, Contents contents);
  [[nodiscard]] const msg::SubmitOpen& open() const override { return open_; }
  [[nodiscard]] std::uint64_t parts() const override {
    return stdin_parts() + contents_.inputs.parts();
  }
  [[nodiscard]] std::uint64_t inputs() const override { return contents_.inputs.values(); }
  [[nodiscard]] msg::Body part(std::uint64_t number) const override;
  [[nodiscard]] bool wants_last() const { return contents_.after_last || contents_.after_any_last; }
  /// The job that `last` means, for whichever of --after and --after-any said so.
  void set_last(JobId job);

 private:
  [[nodiscard]] std::uint64_t stdin_parts() const;

  msg::SubmitOpen open_;
  Contents contents_;
};

/// What the digest is made over where the template says what depends on the moment.
std::string typed_moments(const JobOptions& job);

/// Exit 2 with one line when it can't be meant. Reads files, standard input only when asked.
Outcome<std::unique_ptr<JobSubmission>> make_submission(const JobOptions& job, const Words& words);

/// A verb that submits one job and then does something with it.
class SubmittingVerb : public Verb {
 public:
  Outcome<int> run(const Words& words) final;

 protected:
  /// `retries`: of a task, unless --retries says otherwise.
  SubmittingVerb(std::string name, std::string summary, std::uint32_t retries);
  /// What comes behind the submission.
  struct Sent {
    Client& client;
    const Interrupts& interrupts;
    const JobSpec& spec;  ///< As it was sent.
    const msg::Submitted& submitted;
  };
  virtual Outcome<int> go_on(const Sent& sent) = 0;

  JobOptions job_;
  bool quiet_ = false;
};

/// What a command and its inputs are, for the pages of submit and run.
extern const char* const kCommandText;

}  // namespace capstan::cli
