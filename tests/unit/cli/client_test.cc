// SPDX-License-Identifier: MIT
//
// The client against a scripted master on loopback, both on one loop.
#include "cli/client.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "cli/job_submission.h"
#include "tests/unit/cli/fake_master.h"

using namespace capstan;
using namespace capstan::cli;
using test::FakeMaster;

namespace {

struct Fixture {
  net::EventLoop loop;
  FakeMaster master{loop};
  std::unique_ptr<Client> client;

  explicit Fixture(Micros timeout = std::chrono::seconds(20)) : client(open(timeout)) {}

  std::unique_ptr<Client> open(Micros timeout) { return open_with(master.client_keys, timeout); }
  std::unique_ptr<Client> open_with(const net::KeyPair& keys, Micros timeout) {
    Client::Options options;
    options.access = master.access(keys);
    options.timeout = timeout;
    options.verb = "test";
    options.is_silent = true;
    auto opened = Client::open(loop, std::move(options));
    REQUIRE(opened);
    return std::move(*opened);
  }
};

Selector job_17() {
  Selector selector;
  selector.job = JobId(17);
  return selector;
}

}  // namespace

TEST_SUITE("cli/client") {
  TEST_CASE("a question is answered, and the client knows its name") {
    Fixture f;
    f.master.on_body = [&](const msg::Body& body) {
      msg::WorkerList list;
      list.query = std::get<msg::ListWorkers>(body).query;
      list.workers.resize(3);
      f.master.send(list);
    };
    const auto list = f.client->ask<msg::WorkerList>(msg::ListWorkers{});
    REQUIRE(list);
    CHECK(list->workers.size() == 3);
    CHECK(f.client->name() == "anna");
  }
  TEST_CASE("workers are listed page by page") {
    Fixture f;
    f.master.on_body = [&](const msg::Body& body) {
      const auto& question = std::get<msg::ListWorkers>(body);
      msg::WorkerList list;
      list.query = question.query;
      list.last = WorkerId(question.after.value + 2);
      list.more = list.last.value < 6;
      for (std::uint64_t id = question.after.value + 1; id <= list.last.value; ++id)
        list.workers.emplace_back().name = "w" + std::to_string(id);
      f.master.send(list);
    };
    const auto workers = list_workers(*f.client);
    REQUIRE(workers);
    REQUIRE(workers->size() == 6);
    CHECK(workers->back().name == "w6");
  }
  TEST_CASE("a mutation whose session ended is said again with the same id") {
    Fixture f;
    std::vector<RequestId> seen;
    f.master.on_body = [&](const msg::Body& body) {
      const auto& control = std::get<msg::Control>(body);
      seen.push_back(control.request);
      if (seen.size() == 1) return f.master.forget();
      msg::Done done;
      done.request = control.request;
      done.tasks = 5;
      f.master.send(done);
    };
    const auto done = f.client->control(msg::Verb::Cancel, {job_17()});
    REQUIRE(done);
    CHECK(done->tasks == 5);
    REQUIRE(seen.size() == 2);
    CHECK(seen[0] == seen[1]);
    CHECK(f.master.hellos == 2);
  }
  TEST_CASE("sessions of a later reign count, whatever their numbers") {
    Fixture f;
    int asked = 0;
    f.master.on_body = [&](const msg::Body& body) {
      if (++asked == 1) return f.master.lead_again(Epoch{513}, SessionId(1));
      msg::StatusReply reply;
      reply.query = std::get<msg::GetStatus>(body).query;
      f.master.send(reply);
    };
    CHECK(f.client->ask<msg::StatusReply>(msg::GetStatus{}));
    CHECK(asked == 2);
    CHECK(f.master.hellos == 1);
  }
  TEST_CASE("a refusal is exit 3, not now is asked again") {
    Fixture f;
    int asked = 0;
    f.master.on_body = [&](const msg::Body& body) {
      const auto query = std::get<msg::GetStatus>(body).query;
      const Errc code = ++asked == 1 ? Errc::Unavailable : Errc::NotAllowed;
      f.master.send(msg::Denied{{}, query, code, "no"});
    };
    const auto status = f.client->ask<msg::StatusReply>(msg::GetStatus{});
    REQUIRE_FALSE(status);
    CHECK(status.error().exit_code == kExitRefused);
    CHECK(asked == 2);
  }
  TEST_CASE("no answer within the limit is exit 75") {
    Fixture f;
    f.master.on_body = [](const msg::Body&) {};
    const auto impatient = f.open(std::chrono::milliseconds(300));
    const auto status = impatient->ask<msg::StatusReply>(msg::GetStatus{});
    REQUIRE_FALSE(status);
    CHECK(status.error().exit_code == kExitUnavailable);
  }
  TEST_CASE("a key that is not in the ring is exit 3 at once") {
    Fixture f;
    const auto stranger = f.open_with(net::make_key_pair(), std::chrono::seconds(20));
    const auto status = stranger->ask<msg::StatusReply>(msg::GetStatus{});
    REQUIRE_FALSE(status);
    CHECK(status.error().exit_code == kExitRefused);
  }
  TEST_CASE("a job without inputs is one round trip") {
    Fixture f;
    std::vector<std::size_t> types;
    f.master.on_body = [&](const msg::Body& body) {
      types.push_back(body.index());
      if (const auto* close = std::get_if<msg::SubmitClose>(&body)) {
        f.master.send(msg::Submitted{close->request, JobId(17), 1, ""});
      }
    };
    JobSpec spec;
    spec.argv = {"true"};
    spec.cwd = "/";
    spec.indices = {{1, 1, 1}};
    const auto submitted = f.client->submit(JobSubmission(spec, {}));
    REQUIRE(submitted);
    CHECK(submitted->job == JobId(17));
    CHECK(types == std::vector<std::size_t>{msg::Body(msg::SubmitOpen{}).index(),
                                            msg::Body(msg::SubmitClose{}).index()});
  }
  TEST_CASE("a submission may take longer than the time limit while its parts are accepted") {
    Fixture f(std::chrono::seconds(2));
    std::vector<CombinedList> lists(1);
    for (int i = 0; i < 30; ++i) lists.front().list.add(std::string(60'000, 'x'));
    JobSpec spec;
    spec.argv = {"true"};
    spec.cwd = "/";
    spec.has_inputs = true;
    auto inputs = TaskInputs::make(std::move(lists), spec);
    REQUIRE(inputs);
    const JobSubmission submission(spec, {std::move(*inputs), "", ""});
    const TimePoint began = f.client->now();
    f.master.on_body = [&](const msg::Body& body) {
      if (const auto* part = std::get_if<msg::SubmitInputs>(&body)) {
        const TimePoint until = f.client->now() + std::chrono::milliseconds(100);
        while (f.client->now() < until) {}  // A disk that is slow.
        f.master.send(msg::Accepted{part->request, part->part});
      }
      if (const auto* close = std::get_if<msg::SubmitClose>(&body)) {
        f.master.send(msg::Submitted{close->request, JobId(1), 30, ""});
      }
    };
    CHECK(f.client->submit(submission));
    CHECK(f.client->now() - began > Micros(std::chrono::seconds(2)));
  }
  TEST_CASE("parts wait for answers, and go on behind the last accepted one") {
    Fixture f;
    std::vector<CombinedList> lists(1);
    for (int i = 0; i < 40; ++i) lists.front().list.add(std::string(60'000, 'x'));
    JobSpec spec;
    spec.argv = {"true"};
    spec.cwd = "/";
    spec.has_inputs = true;
    auto inputs = TaskInputs::make(std::move(lists), spec);
    REQUIRE(inputs);
    const JobSubmission submission(spec, {std::move(*inputs), "", ""});
    REQUIRE(submission.parts() == 40);
    std::set<std::uint64_t> accepted;
    std::size_t unanswered = 0;
    bool has_forgotten = false;
    bool has_begun_again = false;
    f.master.on_body = [&](const msg::Body& body) {
      if (std::holds_alternative<msg::SubmitOpen>(body)) unanswered = 0;
      if (const auto* part = std::get_if<msg::SubmitInputs>(&body)) {
        if (has_forgotten && !has_begun_again) CHECK(part->part == 20);
        has_begun_again = has_forgotten;
        CHECK(++unanswered <= limits::kPartsInFlight);
        if (part->part == 20 && !has_forgotten) {
          has_forgotten = true;
          return f.master.forget();
        }
        accepted.insert(part->part);
        --unanswered;
        f.master.send(msg::Accepted{part->request, part->part});
      }
      if (const auto* close = std::get_if<msg::SubmitClose>(&body)) {
        CHECK(close->parts == 40);
        CHECK(close->inputs == 40);
        f.master.send(msg::Submitted{close->request, JobId(18), 40, ""});
      }
    };
    const auto submitted = f.client->submit(submission);
    REQUIRE(submitted);
    CHECK(submitted->tasks == 40);
    CHECK(accepted.size() == 40);
    CHECK(has_begun_again);
  }
  TEST_CASE("a watch goes on from where it was, and gives its credit back") {
    Fixture f;
    std::vector<Seq> from;
    std::uint32_t credit = 0;
    f.master.on_body = [&](const msg::Body& body) {
      if (const auto* given = std::get_if<msg::WatchCredit>(&body)) credit += given->handled;
      const auto* watch = std::get_if<msg::Watch>(&body);
      if (watch == nullptr) return;
      from.push_back(watch->from);
      for (std::uint64_t i = 1; i <= 6; ++i) {
        msg::WatchEvents events;
        events.watch = watch->watch;
        events.seq = Seq(watch->from.value + i);
        f.master.send(events);
      }
    };
    int heard = 0;
    msg::Watch watch;
    watch.job = JobId(17);
    f.client->watch(watch, [&](const Result<msg::WatchEvents>& events) {
      REQUIRE(events);
      if (++heard == 6) f.master.forget();
    });
    const auto all = f.client->run_until([&] { return heard == 12 && credit >= 4; },
                                         f.client->now() + std::chrono::seconds(20));
    REQUIRE(all);
    CHECK(*all);
    CHECK(from == std::vector<Seq>{Seq(0), Seq(6)});
  }
}
