// SPDX-License-Identifier: MIT
//
// Rows as people see them, and the table of who may say what.
#include "master/api/views.h"

#include <doctest/doctest.h>

#include "master/api/client_api.h"
#include "master/api/session.h"
#include "tests/support/builders.h"

namespace capstan::test {
namespace {

TEST_SUITE_BEGIN("master/api/views");

TEST_CASE("a command becomes one line, cut between characters") {
  JobSpec spec = a_job().spec();
  spec.argv = {"convert", "a b.png", "{}"};
  CHECK(api::command_line(spec, 100) == "convert 'a b.png' '{}'");
  spec.argv = {std::string(300, 'x')};
  const Bytes cut = api::command_line(spec, 50);
  CHECK(cut.size() == 50);
  CHECK(cut.ends_with("..."));
  spec.shell = true;
  spec.argv = {"ääääääääää"};
  CHECK(api::command_line(spec, 10) == "äää...");
  spec.argv = {"echo {} | wc -l"};
  CHECK(api::command_line(spec, 100) == "echo {} | wc -l");
}

TEST_CASE("selectors in words") {
  CHECK(api::selector_text({Selector::Kind::Job, JobId(17), {}}) == "17");
  CHECK(api::selector_text({Selector::Kind::Job, JobId(17), {{1, 100, 1}, {200, 200, 1}}}) ==
        "17.1-100,200");
  CHECK(api::selector_text({Selector::Kind::Job, JobId(17), {{1, 9, 2}}}) == "17.1-9:2");
  CHECK(api::selector_text({Selector::Kind::Last, {}, {}}) == "last");
  CHECK(api::selector_text({Selector::Kind::All, {}, {}}) == "all");
}

TEST_CASE("what only masters say, nobody may say to a master") {
  CHECK(api::message_rule(msg::Welcome{}).roles == 0);
  CHECK(api::message_rule(msg::Start{}).roles == 0);
  CHECK(api::message_rule(msg::WatchEvents{}).roles == 0);
  CHECK(api::message_rule(msg::Enrol{}).roles == api::role_bit(Role::Enrolment));
  CHECK(!api::message_rule(msg::Enrol{}).in_session);
  CHECK(api::message_rule(msg::Results{}).roles == api::role_bit(Role::Worker));
  CHECK((api::message_rule(msg::Control{}).roles & api::role_bit(Role::Worker)) == 0);
  CHECK((api::message_rule(msg::Heartbeat{}).roles & api::role_bit(Role::Enrolment)) == 0);
}

TEST_SUITE_END();

}  // namespace
}  // namespace capstan::test
