// SPDX-License-Identifier: MIT
//
// The verbs that steer: cancel, pause, resume, retry. Each is one request that is done once,
// however often it had to be said.
#pragma once

#include <memory>
#include <string>

#include "cli/verb.h"
#include "common/wire/message.h"

namespace capstan::cli {

std::unique_ptr<Verb> make_cancel_verb();
std::unique_ptr<Verb> make_pause_verb();
std::unique_ptr<Verb> make_resume_verb();
std::unique_ptr<Verb> make_retry_verb();

/// {"jobs":[17],"tasks":3}
std::string done_json(const msg::Done& done);
/// "job 17: cancelled, 3 tasks" with `what` = "cancelled", and the master's note.
std::string done_text(const msg::Done& done, std::string_view what);

}  // namespace capstan::cli
