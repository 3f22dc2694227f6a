// SPDX-License-Identifier: MIT
//
// The verbs that show what is: jobs, job, tasks, workers, status. Tables for people, one JSON
// object a line for programs.
#pragma once

#include <memory>

#include "cli/verb.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_jobs_verb();
std::unique_ptr<Verb> make_job_verb();
std::unique_ptr<Verb> make_tasks_verb();
std::unique_ptr<Verb> make_workers_verb();
std::unique_ptr<Verb> make_status_verb();

/// Where a person looks.
bool colour_on_stdout();
/// "2 GiB", or "-" for nothing.
std::string bytes_or_dash(std::uint64_t bytes);
/// The last lines of `tail`, at most `count` and about 2 KiB, each behind `indent`.
std::string last_lines(std::string_view tail, std::size_t count, std::string_view indent);

}  // namespace capstan::cli
