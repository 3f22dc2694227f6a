// SPDX-License-Identifier: MIT
#include "worker/core/pair_codec.h"

#include <doctest/doctest.h>

#include "common/model/limits.h"

namespace capstan {
namespace {

constexpr AttemptKey kKey{JobId(17), TaskIndex(42), AttemptNo(2)};

pair::SpoolItem an_item() {
  pair::SpoolItem item;
  item.instance.bytes[0] = 5;
  item.result.key = kKey;
  item.result.end = EndClass::Signal;
  item.result.signal = 9;
  item.result.reason = "killed by SIGKILL";
  item.result.stdout_tail = Bytes("\0\xff\xfe", 3);
  item.ended_at = {123456};
  item.acked = true;
  item.delivered = {false, true};
  return item;
}

/// One message of each kind, every field with a value of its own.
std::vector<pair::ToAgent> all_to_agent() {
  return {pair::State{.instance = an_item().instance,
                      .cpus = 4,
                      .mem_bytes = 1ULL << 40,
                      .generation = {1, 2},
                      .epoch = Epoch(257),
                      .leaving = true,
                      .disk_full = false,
                      .held = {{kKey, true, {77}}, {kKey, false, {}}},
                      .jobs = {JobId(3), JobId(5)}},
          pair::Spooled{{an_item(), an_item()}},
          pair::Synced{},
          pair::StartedAt{kKey, {99}},
          pair::Ended{{an_item()}},
          pair::Returned{{kKey, kKey}},
          pair::OutputGrew{kKey, Stream::Stderr, 1ULL << 40},
          pair::Notice{true, true},
          pair::AllDone{}};
}
std::vector<pair::ToShepherd> all_to_shepherd() {
  return {pair::JobTemplate{.job = JobId(17),
                            .settings = {.cwd = "/",
                                         .cpus = 3,
                                         .time_limit = Micros(5),
                                         .stall_limit = Micros(6),
                                         .mem_bytes = 7,
                                         .nice = -8},
                            .argv = {"say", "\xfe"},
                            .env = {{"X", "1=2"}, {"Y", ""}},
                            .script = Bytes("#!\0\xff", 4),
                            .has_stdin = true,
                            .stdin_data = Bytes("\0in", 3)},
          pair::ForgetJob{JobId(18)},
          pair::Runs{{{.key = kKey,
                       .argv = {"a", Bytes("\xff\n", 2), ""},
                       .input = "",
                       .files = {"o/u\xff", "e"}},
                      {.key = {JobId(1), TaskIndex(8), AttemptNo(1)}}}},
          pair::Unrunnable{kKey, "why"},
          pair::Cancel{CancelWhy::NotGranted, {kKey}},
          pair::Recall{{kKey}},
          pair::Acked{{kKey}},
          pair::Follow{JobId(3), true},
          pair::Delivered{kKey, Stream::Stdout, 12, true},
          pair::Ready{"w1", {3, 4}, Epoch(513)},
          pair::NewGeneration{{5, 6}},
          pair::Fatal{3, "no"}};
}

std::string payload_of(const std::string& frame) {
  return frame.substr(4);
}

TEST_SUITE("worker/core/pair_codec") {
  TEST_CASE("every message comes back as the same bytes") {
    REQUIRE(all_to_agent().size() == std::variant_size_v<pair::ToAgent>);
    REQUIRE(all_to_shepherd().size() == std::variant_size_v<pair::ToShepherd>);
    for (const auto& message : all_to_agent()) {
      std::string frame, again;
      pair::encode(message, frame);
      const auto decoded = pair::decode_to_agent(payload_of(frame));
      REQUIRE(decoded);
      REQUIRE(decoded->index() == message.index());
      pair::encode(*decoded, again);
      CHECK(frame == again);
    }
    for (const auto& message : all_to_shepherd()) {
      std::string frame, again;
      pair::encode(message, frame);
      const auto decoded = pair::decode_to_shepherd(payload_of(frame));
      REQUIRE(decoded);
      REQUIRE(decoded->index() == message.index());
      pair::encode(*decoded, again);
      CHECK(frame == again);
    }
  }

  TEST_CASE("runs that say nothing but their keys are said together, in their order") {
    pair::Runs runs;
    const auto add = [&](std::uint32_t task, std::vector<Bytes> argv) {
      runs.runs.push_back(
          {.key = {JobId(17), TaskIndex(task), AttemptNo(1)}, .argv = std::move(argv)});
    };
    for (std::uint32_t task = 1; task <= 1000; ++task) add(task, {});
    add(1001, {"say"});
    add(1002, {});
    add(5, {});
    std::string frame;
    pair::encode(pair::ToShepherd(runs), frame);
    CHECK(frame.size() < 64);
    const auto decoded = pair::decode_to_shepherd(payload_of(frame));
    REQUIRE(decoded);
    const auto& back = std::get<pair::Runs>(*decoded).runs;
    REQUIRE(back.size() == runs.runs.size());
    for (std::size_t i = 0; i < back.size(); ++i) {
      CHECK(back[i].key == runs.runs[i].key);
      CHECK(back[i].argv == runs.runs[i].argv);
    }
  }

  TEST_CASE("a few bytes of runs do not become more than a worker ever has") {
    pair::Runs runs;
    const auto decodes_with_two_of = [&](std::uint32_t count) {
      runs.runs.clear();
      for (const AttemptNo attempt : {AttemptNo(1), AttemptNo(2)}) {
        for (std::uint32_t task = 0; task < count; ++task) {
          runs.runs.push_back({.key = {JobId(17), TaskIndex(task), attempt}});
        }
      }
      std::string frame;
      pair::encode(pair::ToShepherd(runs), frame);
      CHECK(frame.size() < 64);
      return bool(pair::decode_to_shepherd(payload_of(frame)));
    };
    CHECK(decodes_with_two_of(limits::kKeysPerList / 2));
    CHECK_FALSE(decodes_with_two_of(limits::kKeysPerList / 2 + 1));
  }

  TEST_CASE("a run does not go beyond the last task that there can be") {
    const AttemptKey last{JobId(17), TaskIndex(UINT32_MAX), AttemptNo(1)};
    std::string frame;
    pair::encode(pair::ToShepherd(pair::Runs{{{.key = last}}}), frame);
    CHECK(pair::decode_to_shepherd(payload_of(frame)));
    REQUIRE(frame.back() == 1);
    frame.back() = 2;
    CHECK_FALSE(pair::decode_to_shepherd(payload_of(frame)));
  }

  TEST_CASE("fields are not mixed up") {
    std::string frame;
    pair::encode(pair::ToAgent(pair::Ended{{an_item()}}), frame);
    const auto decoded = pair::decode_to_agent(payload_of(frame));
    REQUIRE(decoded);
    CHECK(std::get<pair::Ended>(*decoded).items.at(0) == an_item());
    frame.clear();
    pair::encode(all_to_shepherd()[0], frame);
    const auto job = pair::decode_to_shepherd(payload_of(frame));
    REQUIRE(job);
    const auto& back_job = std::get<pair::JobTemplate>(*job);
    CHECK(back_job.argv.at(1) == "\xfe");
    CHECK(back_job.env.at(0) == EnvVar{"X", "1=2"});
    CHECK(back_job.settings.cpus == 3);
    CHECK(back_job.settings.time_limit == Micros(5));
    CHECK(back_job.settings.stall_limit == Micros(6));
    CHECK(back_job.settings.mem_bytes == 7);
    CHECK(back_job.settings.nice == -8);
    frame.clear();
    pair::encode(all_to_shepherd()[2], frame);
    const auto runs = pair::decode_to_shepherd(payload_of(frame));
    REQUIRE(runs);
    const auto& both = std::get<pair::Runs>(*runs).runs;
    REQUIRE(both.size() == 2);
    CHECK(both[1].key.task == TaskIndex(8));
    CHECK(both[1].argv.empty());
    const pair::Run& back = both[0];
    CHECK(back.argv.at(1) == Bytes("\xff\n", 2));
    CHECK(back.input == "");
    CHECK(back.files[1] == "e");
  }

  TEST_CASE("cut or lengthened payloads are refused") {
    for (const auto& message : all_to_shepherd()) {
      std::string frame;
      pair::encode(message, frame);
      const std::string payload = payload_of(frame);
      for (std::size_t size = 0; size < payload.size(); ++size) {
        CHECK_FALSE(pair::decode_to_shepherd(payload.substr(0, size)));
      }
      CHECK_FALSE(pair::decode_to_shepherd(payload + "x"));
    }
  }

  TEST_CASE("frames are cut out of a stream, however it arrives") {
    std::string stream;
    for (const auto& message : all_to_agent()) pair::encode(message, stream);
    for (const std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
      pair::Framer framer;
      std::size_t frames = 0;
      for (std::size_t at = 0; at < stream.size(); at += step) {
        framer.feed(std::string_view(stream).substr(at, step));
        std::string_view payload;
        for (;;) {
          const auto more = framer.next(payload);
          REQUIRE(more);
          if (!*more) break;
          REQUIRE(pair::decode_to_agent(payload));
          ++frames;
        }
      }
      CHECK(frames == all_to_agent().size());
    }
    pair::Framer framer;
    framer.feed("\xff\xff\xff\xff");
    std::string_view payload;
    CHECK_FALSE(framer.next(payload));
  }
}

}  // namespace
}  // namespace capstan
