// SPDX-License-Identifier: MIT
#include "master/store/entry_codec.h"
#include "common/wire/version.h"

#include <doctest/doctest.h>

#include <utility>

#include "common/model/limits.h"
#include "common/wire/codec.h"
#include "master/store/store.h"
#include "tests/support/builders.h"

using namespace capstan;
using namespace capstan::test;

namespace {

// How many fields an aggregate has: the codec must know them all.
struct Anything {
  template <class T>
  operator T() const;
};
template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...> /*all*/) {
  return requires {
    T{(static_cast<void>(I), Anything{})...};
  };
}
template <class T, std::size_t N = 16>
constexpr std::size_t field_count() {
  if constexpr (takes<T>(std::make_index_sequence<N>()))
    return N;
  else
    return field_count<T, N - 1>();
}

Entry an_entry(Command command) {
  Entry entry{Seq(7), Epoch(513), TimePoint{-8}, WallTime{9}, 1, {}};
  entry.command = std::move(command);
  return entry;
}

const Asked kAsked{"ann", an_id(1)};

/// One of each kind, every field with a value of its own.
std::vector<Command> every_command() {
  const std::vector<IndexSpan> spans = {{1, 2}, {5, UINT32_MAX}};
  const std::vector<AttemptKey> keys = {a_key(1, 2, 3), a_key(4, 0, 6)};
  AttemptResult result = a_result(a_key(1, 2, 3), EndClass::Signal);
  result.stderr_tail = Bytes("\0\xFF", 2);
  cmd::WorkerJoined joined{WorkerId(2), an_id(3), 8,    "0.1.0", "host:1",   "weak",
                           {},          keys,     true, true,    1ULL << 40U};
  joined.held = {{keys[0], true}, {keys[1], false}};
  cmd::JobReopened reopened;
  reopened.job = JobId(5);
  reopened.owner = "ann";
  reopened.spec = a_job().with_tasks(9).spec();
  reopened.submitted_at.us = 1;
  reopened.started_at.us = 2;
  reopened.runs = {{9, TaskState::Skipped, AttemptNo(4), false}};
  reopened.token = "t";
  reopened.inputs = SubmissionId(3);
  reopened.cancelling = reopened.launched = true;
  reopened.mean_wall = Micros(11);
  reopened.round = 6;
  reopened.skipping = true;
  reopened.priority = -3;
  reopened.reason = "why";
  return {cmd::ReignBegan{"a", "lost", 7},
          cmd::SubmissionOpened{kAsked, SubmissionId(2), "token", "digest", a_job().spec()},
          cmd::InputsStaged{kAsked, SubmissionId(2), 3, 4, 5, Bytes("\x01\x00", 2)},
          cmd::JobSubmitted{kAsked, SubmissionId(2), JobId(3), 4, {{JobId(1), JobState::Skipped}}},
          cmd::SubmissionDropped{SubmissionId(2)},
          cmd::JobCancelled{kAsked, JobId(2), spans, false, "why"},
          cmd::JobPaused{kAsked, JobId(2), false},
          cmd::JobResumed{kAsked, JobId(2), false},
          cmd::TasksRetried{kAsked, JobId(2), spans, 0xFF, false},
          reopened,
          cmd::RequestAnswered{kAsked, Errc::Conflict, "no"},
          cmd::WorkerEnrolled{WorkerId(2), "w", Bytes("key\xFE", 4)},
          joined,
          cmd::WorkerLost{WorkerId(2), an_id(3), "silent"},
          cmd::WorkerNoticed{WorkerId(2), an_id(3), true, true},
          cmd::WorkerLeft{WorkerId(2), an_id(3)},
          cmd::TasksAssigned{WorkerId(2), JobId(3), AttemptNo(4), {TaskIndex(0), TaskIndex(9)}},
          cmd::TasksRecalled{WorkerId(2), keys},
          cmd::TasksReturned{WorkerId(2), an_id(3), keys},
          cmd::TasksStarted{WorkerId(2), an_id(3), {{keys[0], Micros(5)}}},
          cmd::ResultsReported{WorkerId(2), an_id(3), {result}},
          cmd::BackoffsOver{JobId(2), {TaskIndex(1)}},
          cmd::JobReleased{JobId(2)},
          cmd::JobPrioritised{kAsked, JobId(2), -5, false},
          cmd::WorkersDrained{kAsked, {WorkerId(1), WorkerId(2)}, true, "disk swap"},
          cmd::WorkersRemoved{kAsked, {WorkerId(2)}},
          cmd::KeyAdded{kAsked, "bob", "key", Role::Admin},
          cmd::KeyRevoked{kAsked, "bob", "own"},
          cmd::JobsDeleted{kAsked, {{JobId(2), "ann", "t", SubmissionId(3), 4}}, true, false, "n"},
          cmd::DeletionsSwept{{{JobId(2), TaskIndex(3), UINT64_MAX, true}}},
          cmd::RequestsForgotten{TimePoint{5}},
          cmd::MinCopiesSet{2}};
}

}  // namespace

TEST_SUITE("master/store/entry_codec") {
  TEST_CASE("every command comes back as it was") {
    const std::vector<Command> commands = every_command();
    REQUIRE(commands.size() == std::variant_size_v<Command::variant>);
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < commands.size(); ++i) {
      CHECK(commands[i].index() == i);
      entries.push_back(an_entry(commands[i]));
    }
    const std::string blob = store::encode_entries(entries);
    const auto decoded = store::decode_entries(blob);
    REQUIRE(decoded.has_value());
    REQUIRE(decoded->size() == entries.size());
    CHECK(store::encode_entries(*decoded) == blob);
    const Entry& first = decoded->front();
    CHECK(first.seq == Seq(7));
    CHECK(first.epoch == Epoch(513));
    CHECK(first.at == TimePoint{-8});
    CHECK(first.wall == WallTime{9});
    CHECK(std::get<cmd::ReignBegan>(first.command).node == "a");
    const auto& staged = std::get<cmd::InputsStaged>((*decoded)[2].command);
    CHECK(staged.asked == kAsked);
    CHECK(staged.chunk == Bytes("\x01\x00", 2));
    const auto& reopened = std::get<cmd::JobReopened>((*decoded)[9].command);
    CHECK_FALSE(reopened.runs.at(0).has_rows);
    CHECK(reopened.round == 6);
    const auto& reported = std::get<cmd::ResultsReported>((*decoded)[20].command);
    CHECK(reported.results == std::get<cmd::ResultsReported>(commands[20]).results);
  }

  TEST_CASE("no field of a command is forgotten") {
    for (const Command& command : every_command()) {
      CAPTURE(command.index());
      const Entry entry = an_entry(command);
      std::string blob;
      store::append_entry(blob, entry);
      wire::Reader reader(blob);
      reader.array(7);
      CHECK(reader.u64() == entry.seq.value);
      CHECK(reader.u64() == entry.epoch.value);
      CHECK(reader.i64() == entry.at.us);
      CHECK(reader.i64() == entry.wall.us);
      CHECK(reader.u64() == entry.level);
      CHECK(reader.u64() == command.index() + 1);
      const std::size_t fields = reader.array_up_to(100);
      std::visit(
          [fields](const auto& c) {
            CHECK(fields == field_count<std::remove_cvref_t<decltype(c)>>());
          },
          command);
    }
    // What is inside of lists.
    CHECK(field_count<cmd::WorkerJoined::Held>() == 2);
    CHECK(field_count<cmd::TasksStarted::One>() == 2);
    CHECK(field_count<IndexSpan>() == 2);
  }

  TEST_CASE("what is cut off, left over or unknown is corrupt") {
    for (const Command& command : every_command()) {
      CAPTURE(command.index());
      const std::string blob = store::encode_entries({an_entry(command)});
      for (std::size_t length = 0; length < blob.size(); ++length) {
        const auto decoded = store::decode_entries(std::string_view(blob).substr(0, length));
        REQUIRE_FALSE(decoded.has_value());
        CHECK(decoded.error().code == Errc::Corrupt);
      }
      CHECK(store::decode_entries(blob + '\0').error().code == Errc::Corrupt);
    }
    std::string unknown;
    wire::Writer writer(unknown);
    writer.array(1);
    writer.array(7);
    for (const std::uint64_t v : {1, 257, 1, 1, 1, 99}) writer.u64(v);
    writer.array(0);
    writer.finish();
    CHECK(store::decode_entries(unknown).error().code == Errc::Corrupt);
  }

  TEST_CASE("an entry of a higher level is too new") {
    Entry entry = an_entry(cmd::ReignBegan{"a"});
    entry.level = kEntryLevel + 1;
    CHECK(store::decode_entries(store::encode_entries({entry})).error().code == Errc::TooNew);
  }

  TEST_CASE("inputs and templates come back as they were") {
    const std::vector<Bytes> inputs = {"", "a b", Bytes("\0\xFF", 2), Bytes(70'000, 'x')};
    CHECK(store::decode_inputs(store::encode_inputs(inputs)).value() == inputs);
    CHECK(store::decode_inputs(store::encode_inputs({})).value().empty());
    CHECK(store::decode_inputs("").error().code == Errc::Corrupt);
    CHECK(store::decode_inputs("\xDD\xFF\xFF\xFF\xFF").error().code == Errc::Corrupt);
    const JobSpec spec = a_job().with_tasks(7).with_priority(-3).spec();
    CHECK(store::decode_spec(store::encode_spec(spec)).value() == spec);
    CHECK(store::decode_spec(store::encode_spec(spec) + "x").error().code == Errc::Corrupt);
  }

}  // TEST_SUITE
