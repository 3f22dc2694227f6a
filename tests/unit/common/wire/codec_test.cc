// SPDX-License-Identifier: MIT
#include "common/wire/codec.h"

#include <cxxabi.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <msgpack.hpp>
#include <typeinfo>

#include "common/model/limits.h"
#include "common/wire/version.h"
#include "tests/unit/common/wire/random_message.h"

using namespace capstan;
using namespace std::string_literals;

namespace {

constexpr std::uint64_t kSeed = 20261121;

std::string error_of(std::string_view frame) {
  const auto decoded = wire::decode(frame);
  if (decoded) return "accepted";
  CHECK(decoded.error().code == Errc::Protocol);
  return decoded.error().message;
}

template <class M>
M through_the_wire(const M& body) {
  const auto decoded = wire::decode(wire::encode({SessionId(1), 2, Epoch(257), body}));
  REQUIRE(decoded);
  REQUIRE(std::holds_alternative<M>(decoded->body));
  return std::get<M>(decoded->body);
}

/// Of a greeting in a protocol that is not ours only the number is read.
bool speaks_ours(const msg::Body& body) {
  return std::visit(
      [](const auto& m) {
        if constexpr (requires { m.protocol_oldest; })
          return m.protocol == kProtocol && m.protocol_oldest <= kProtocol;
        else if constexpr (requires { m.protocol; })
          return m.protocol == kProtocol;
        else
          return true;
      },
      body);
}

int depth_of(const msgpack::object& object) {
  if (object.type != msgpack::type::ARRAY) return 0;
  int deepest = 0;
  for (const auto& element : object.via.array) deepest = std::max(deepest, depth_of(element));
  return deepest + 1;
}

std::string tail_of_type_name(const std::type_info& type) {
  int status = 0;
  char* name = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  const std::string full = name;
  std::free(name);
  return full.substr(full.rfind(':') + 1);
}

// --- Is every member of every struct described, in order?
// ------------------------------------------

struct Anything {
  template <class T>
  operator T() const;
};

/// How many members an aggregate has.
template <class T, class... Given>
constexpr std::size_t member_count() {
  if constexpr (requires { T{Given{}..., Anything{}}; })
    return member_count<T, Given..., Anything>();
  else
    return sizeof...(Given);
}

template <class F>
const void* address_of(const F& field) {
  if constexpr (requires {
                  field.max;
                  field.value;
                })
    return &field.value;
  else
    return &field;
}

template <class T>
void check_description() {
  CAPTURE(tail_of_type_name(typeid(T)));
  T m;
  const auto described = fields(wire::Shape{}, m);
  CHECK(std::tuple_size_v<std::remove_const_t<decltype(described)>> == member_count<T>());
  std::apply(
      [&](const auto&... field) {
        const std::vector<const void*> places{address_of(field)...};
        for (std::size_t i = 1; i < places.size(); ++i) CHECK(places[i - 1] < places[i]);
        if (!places.empty()) CHECK(places.front() == &m);
      },
      described);
}

template <class... M>
void check_descriptions(const std::variant<M...>*) {
  (check_description<M>(), ...);
}

}  // namespace

TEST_SUITE_BEGIN("common/wire/codec");

TEST_CASE("every member of every struct is sent, in the order of its declaration") {
  check_descriptions(static_cast<msg::Body*>(nullptr));
  check_description<AttemptKey>();
  check_description<AttemptRun>();
  check_description<IndexRange>();
  check_description<EnvVar>();
  check_description<JobSpec>();
  check_description<AttemptResult>();
  check_description<JobCounts>();
  check_description<Generation>();
  check_description<Member>();
  check_description<Selector>();
  check_description<msg::HeldAttempt>();
  check_description<msg::Started::One>();
  check_description<msg::Start::One>();
  check_description<msg::JobView>();
  check_description<msg::AttemptView>();
  check_description<msg::WorkerVerdict>();
  check_description<msg::EventView>();
  check_description<msg::KeyView>();
  check_description<msg::TaskView>();
  check_description<msg::WorkerView>();
  check_description<msg::TaskEnded>();
  check_description<msg::OutputGrew>();
}

TEST_CASE("a frame is these very bytes, for ever") {
  CHECK(wire::encode({SessionId(1), 2, Epoch(257), msg::Heartbeat{7}}) ==
        "\x95\x01\x01\x02\xCD\x01\x01\x91\x07"s);
  CHECK(wire::encode({{}, 0, {}, msg::Refused{Errc::TooNew, "no"}}) ==
        "\x95\x03\x00\x00\x00\x92\x0D\xA2no"s);
  CHECK(msg::Body(msg::WatchEvents{}).index() + 1 == 45);
}

TEST_CASE("values arrive as they were") {
  const AttemptKey key{JobId(17), TaskIndex(42), AttemptNo(2)};
  const AttemptResult result{key,       EndClass::Signal, -1,        9, "grüße",
                             Micros(1), Micros(-2),       Micros(3), 4, 5,
                             6,         "\xFF\0"s,        "e"};
  CHECK(through_the_wire(msg::Results{{result, result}}).results ==
        std::vector<AttemptResult>{result, result});
  JobSpec spec;
  spec.name = "n";
  spec.cwd = "/\xFE";
  spec.argv = {"a", "", "\n"};
  spec.shell = spec.array = true;
  spec.env = {{"A", "b"}, {"C", "\xFF"}};
  spec.indices = {{1, 9, 2}, {20, 20, 1}};
  spec.max_running = 3;
  spec.priority = -7;
  spec.time_limit = Micros(INT64_MAX);
  const auto open = through_the_wire(msg::SubmitOpen{Uuid{{1, 2, 3}}, "t", Bytes(16, 'd'), spec});
  CHECK(open.spec == spec);
  CHECK(open.request == Uuid{{1, 2, 3}});
  CHECK(open.digest == Bytes(16, 'd'));
  const auto hello = through_the_wire(msg::WorkerHello{kProtocol,
                                                       "0.1.0",
                                                       Uuid{{9}},
                                                       Epoch(3),
                                                       {-5, 6},
                                                       8,
                                                       "cgroup",
                                                       {{key, true}},
                                                       {key},
                                                       false,
                                                       true});
  CHECK(hello.held == std::vector<msg::HeldAttempt>{{key, true}});
  CHECK(hello.generation == Generation{-5, 6});
  CHECK(hello.disk_full);
  CHECK_FALSE(hello.leaving);
}

TEST_CASE("every type makes the round trip with random values, and msgpack-c reads it too") {
  Rng rng(kSeed);
  for (std::size_t type = 0; type < wire::kMessageTypes; ++type) {
    for (int round = 0; round < 50; ++round) {
      const msg::Message message = wire::random_message(rng, type);
      const std::string frame = wire::encode(message);
      const auto decoded = wire::decode(frame);
      CAPTURE(wire::type_name(message.body));
      CAPTURE(round);
      REQUIRE(decoded);
      REQUIRE(decoded->body.index() == type);
      REQUIRE(wire::encode(*decoded) == frame);
      const auto unpacked = msgpack::unpack(frame.data(), frame.size());
      REQUIRE(depth_of(unpacked.get()) <= limits::kDecodeDepth);
      std::string again;  // Ours is what msgpack-c writes of the same values.
      msgpack::sbuffer buffer;
      msgpack::pack(buffer, unpacked.get());
      REQUIRE(std::string_view(buffer.data(), buffer.size()) == frame);
    }
  }
}

TEST_CASE("a frame that is cut off anywhere, or goes on, is refused") {
  Rng rng(kSeed + 1);
  for (std::size_t type = 0; type < wire::kMessageTypes; ++type) {
    const std::string frame = wire::encode(wire::random_message(rng, type));
    CAPTURE(type);
    for (std::size_t length = 0; length < frame.size(); ++length) {
      REQUIRE(error_of(frame.substr(0, length)) != "accepted");
    }
    REQUIRE(error_of(frame + '\0') != "accepted");
    REQUIRE(error_of(frame + frame) != "accepted");
  }
}

TEST_CASE(
    "of a newer node's hello what we know is read, of one who does not speak ours two numbers") {
  msg::PeerHello hello;
  hello.protocol = kProtocol + 1;
  hello.protocol_oldest = kProtocol;
  hello.version = "9";
  hello.life = 7;
  std::string frame = wire::encode({SessionId{}, 0, Epoch{}, hello});
  const std::size_t fields = frame.find(static_cast<char>(0x90U | 15U));
  REQUIRE(fields != std::string::npos);
  frame.replace(fields, 1, std::string("\xDC\x00\x10", 3));  // One more than there are today.
  const auto decoded = wire::decode(frame + "\xA4more");
  REQUIRE(decoded);
  CHECK(std::get<msg::PeerHello>(decoded->body).version == "9");
  CHECK(std::get<msg::PeerHello>(decoded->body).life == 7);

  hello.protocol = kProtocol + 2;
  hello.protocol_oldest = kProtocol + 1;
  const auto stranger = through_the_wire(hello);
  CHECK(stranger.protocol_oldest == kProtocol + 1);
  CHECK(stranger.version == "");
}

TEST_CASE("a flipped bit is refused, or is another message that is whole") {
  Rng rng(kSeed + 2);
  for (std::size_t type = 0; type < wire::kMessageTypes; ++type) {
    std::string frame = wire::encode(wire::random_message(rng, type));
    for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
      const char mask = static_cast<char>(1U << (bit % 8));
      frame[bit / 8] = static_cast<char>(frame[bit / 8] ^ mask);
      if (const auto decoded = wire::decode(frame)) {
        REQUIRE(wire::decode(wire::encode(*decoded)));
        if (speaks_ours(decoded->body)) REQUIRE(error_of(frame + '\xC2') != "accepted");
      }
      frame[bit / 8] = static_cast<char>(frame[bit / 8] ^ mask);
    }
  }
}

TEST_CASE("random bytes are refused") {
  Rng rng(kSeed + 3);
  for (int i = 0; i < 20'000; ++i) {
    std::string frame = "\x95"s + static_cast<char>(1 + rng.below(45)) + "\x01\x01\x01"s;
    frame += wire::random_bytes(rng, 24);
    if (const auto decoded = wire::decode(frame)) REQUIRE(wire::decode(wire::encode(*decoded)));
  }
}

TEST_CASE("what is wrong is said") {
  CHECK(error_of("") == "bad message (envelope): it is cut off");
  CHECK(error_of("\x94\x01\x01\x01\x01"s) == "bad message (envelope): wrong number of fields");
  CHECK(error_of("\x95\x7E\x00\x00\x00\x90"s) ==
        "bad message (envelope): a number is out of range");
  CHECK(error_of("\x95\x00\x00\x00\x00\x90"s) == "bad message (envelope): an unknown type");
  CHECK(error_of("\x95\x01\x00\x00\x00\x90"s) == "bad message (Heartbeat): wrong number of fields");
  CHECK(error_of("\x95\x02\x00\x00\x00\x91\xA2\xC3\x28"s) ==
        "bad message (NeedHello): a text is not UTF-8");
  CHECK(error_of("\x95\x03\x00\x00\x00\x92\x00\xA0"s) == "bad message (Refused): an unknown kind");
  CHECK(error_of(std::string(limits::kAnyFrameBytes + 1, 'x')) ==
        "bad message (frame): it is too large");
}

TEST_CASE("a claimed length is not believed") {
  // Results of 2^32-1 elements, of which none is there.
  CHECK(error_of("\x95\x07\x01\x01\x01\x91\xDD\xFF\xFF\xFF\xFF"s) ==
        "bad message (Results): a list is too long");
  CHECK(error_of("\x95\x02\x00\x00\x00\x91\xDB\xFF\xFF\xFF\xFF"s) ==
        "bad message (NeedHello): a text is too long");
}

TEST_CASE("a range that would be divided by, or runs backwards, never gets in") {
  for (const IndexRange bad : {IndexRange{1, 2, 0}, IndexRange{3, 2, 1}}) {
    JobSpec spec;
    spec.indices = {bad};
    const auto frame = wire::encode({SessionId(1), 1, {}, msg::JobTemplate{JobId(1), spec}});
    CHECK(error_of(frame) == "bad message (JobTemplate): a range is wrong");
  }
}

TEST_CASE("a greeting of another protocol is understood as far as its number") {
  std::string frame;
  wire::Writer w(frame);
  w.array(5);
  for (const std::uint64_t number : {5, 0, 0, 0}) w.u64(number);  // A WorkerHello …
  w.array(3);
  w.u64(kProtocol + 1);
  w.text("of fields that we do not know");
  w.boolean(true);
  w.finish();
  const auto decoded = wire::decode(frame);
  REQUIRE(decoded);
  CHECK(std::get<msg::WorkerHello>(decoded->body).protocol == kProtocol + 1);
  const msg::ClientHello ours{kProtocol, "0.1.0", {}};
  CHECK(error_of(wire::encode({{}, 0, {}, ours}) + "x") != "accepted");
}

TEST_CASE("texts that are not UTF-8 are escaped, long reasons cut between characters") {
  AttemptResult result;
  result.reason = "no \xFF";
  CHECK(through_the_wire(msg::Results{{result}}).results[0].reason == "no \\xff");
  std::string reason = "x";
  for (int i = 0; i < 400; ++i) reason += "ü";
  result.reason = reason;
  const std::string cut = through_the_wire(msg::Results{{result}}).results[0].reason.str();
  CHECK(cut.size() == limits::kReasonBytes - 1);
  CHECK(cut == reason.substr(0, cut.size()));
}

TEST_CASE("the largest template fits a frame") {
  JobSpec spec;
  spec.cwd = "/";
  spec.argv.assign(4, Bytes(limits::kTemplateBytes / 4 - 100, 'x'));
  const msg::SubmitOpen open{Uuid{{1}}, "token", Bytes(16, 'd'), spec};
  CHECK(through_the_wire(open).spec == spec);
}

TEST_CASE("size bounds are not below what is sent") {
  Rng rng(kSeed + 4);
  const auto check = [&](auto m) {
    for (int i = 0; i < 200; ++i) {
      wire::fill_field(rng, m);
      std::string out;
      wire::Writer w(out);
      wire::put_field(w, m);
      w.finish();
      REQUIRE(out.size() <= wire::size_bound(m));
    }
  };
  check(JobSpec{});
  check(AttemptResult{});
  check(msg::JobView{});
  check(msg::TaskView{});
  check(msg::TaskEnded{});
  check(msg::WorkerView{});
}

TEST_CASE("a type's name is its struct's") {
  Rng rng(1);
  for (std::size_t type = 0; type < wire::kMessageTypes; ++type) {
    const msg::Message message = wire::random_message(rng, type);
    std::visit(
        [&](const auto& body) {
          CHECK(wire::type_name(message.body) == tail_of_type_name(typeid(body)));
        },
        message.body);
  }
}

TEST_SUITE_END();
