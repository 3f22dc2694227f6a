// SPDX-License-Identifier: MIT
//
// Messages to bytes and back, and the two tools it is made of for others who store msgpack
// (master/store/entry_codec, the worker's spool). The only place that sees msgpack-c: packing is
// its packer; reading is a bounded cursor of ours, because its own decoder trusts lengths (5 bytes
// reached 8 GB of address space). The cursor reads only what the format names, never an unknown
// value, so nesting needs no counting: the deepest message has limits::kDecodeDepth levels at most.
// Nothing here throws.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/model/job.h"
#include "common/model/task.h"
#include "common/wire/message.h"

namespace capstan::wire {

/// The first byte of what most of a message is made of (msgpack's fixint, fixarray, false and
/// true): these are read and written where they are wanted, a task's way through five programs
/// takes some two hundred of them.
struct Head {
  static constexpr std::uint64_t kNumberEnd = 0x80;
  static constexpr std::uint64_t kArray = 0x90, kArrayEnd = 0xA0;
  static constexpr std::uint64_t kFalse = 0xC2, kTrue = 0xC3;
};

/// Appends msgpack to a buffer: in pieces, since appending each small number costs more than the
/// number. finish() ends it; nobody looks at the buffer before.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  void array(std::size_t count) {
    count < Head::kArrayEnd - Head::kArray ? head(Head::kArray + count) : long_array(count);
  }
  void u64(std::uint64_t v) { v < Head::kNumberEnd ? head(v) : long_u64(v); }
  void i64(std::int64_t v) { v < 0 ? negative(v) : u64(static_cast<std::uint64_t>(v)); }
  void boolean(bool v) { head(v ? Head::kTrue : Head::kFalse); }
  void bin(std::string_view bytes);  ///< Any bytes.
  /// People's words. What is not UTF-8 (a file name in an error) is sent as printable().
  void text(std::string_view utf8);
  /// The same, cut to at most `max` bytes between two characters: for reasons, which a reader
  /// refuses when they are longer.
  void text(std::string_view utf8, std::size_t max);
  /// What another one wrote.
  void written(std::string_view msgpack);
  void finish();

 private:
  struct Sink;
  static constexpr std::size_t kPieceBytes = 192;
  void head(std::uint64_t byte) {
    if (used_ == kPieceBytes) finish();
    piece_[used_++] = static_cast<char>(byte);
  }
  void long_array(std::size_t count);
  void long_u64(std::uint64_t v);
  void negative(std::int64_t v);
  std::string& out_;
  std::array<char, kPieceBytes> piece_;
  std::size_t used_ = 0;  ///< Of piece_.
};

/// Reads msgpack from bytes that nobody vouches for. After the first error every read returns a
/// zero value and ok() stays false: check once at the end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  /// Exactly `count` elements, or an error.
  void array(std::size_t count) {
    if (length_of_array() != count) set_error("wrong number of fields");
  }
  /// Any number of elements up to `max` (and never more than the bytes that are left).
  std::size_t array_up_to(std::size_t max);
  std::uint64_t u64(std::uint64_t max = UINT64_MAX) {
    const std::uint64_t first = peek();
    return first < Head::kNumberEnd && first <= max ? skip(first) : long_u64(max);
  }
  std::int64_t i64(std::int64_t min = INT64_MIN, std::int64_t max = INT64_MAX) {
    const auto first = static_cast<std::int64_t>(peek());
    const bool is_small = first < static_cast<std::int64_t>(Head::kNumberEnd);
    return is_small && first >= min && first <= max ? skip(first) : long_i64(min, max);
  }
  bool boolean() {
    const std::uint64_t first = peek();
    if (first != Head::kTrue && first != Head::kFalse) return no_boolean();
    return skip(first) == Head::kTrue;
  }
  std::string_view bin(std::size_t max);   ///< Points into the input.
  std::string_view text(std::size_t max);  ///< Valid UTF-8, or an error.
  void set_error(const char* what) {
    if (error_ == nullptr) error_ = what;
    rest_ = {};  // Nothing more is read.
  }
  [[nodiscard]] bool ok() const { return error_ == nullptr; }
  [[nodiscard]] const char* error() const { return error_; }
  [[nodiscard]] std::string_view rest() const { return rest_; }
  /// ok() and nothing left over.
  [[nodiscard]] bool finished() const { return ok() && rest_.empty(); }

 private:
  static constexpr std::uint64_t kNever = 0xC1;  // Begins nothing in msgpack.
  [[nodiscard]] std::uint64_t peek() const {
    return rest_.empty() ? kNever : static_cast<unsigned char>(rest_.front());
  }
  template <class Value>
  Value skip(Value value) {
    rest_.remove_prefix(1);
    return value;
  }
  std::size_t length_of_array() {
    const std::uint64_t first = peek();
    const bool is_short = first >= Head::kArray && first < Head::kArrayEnd;
    return is_short ? skip(first - Head::kArray) : long_array();
  }
  std::uint64_t long_u64(std::uint64_t max);
  std::int64_t long_i64(std::int64_t min, std::int64_t max);
  bool no_boolean();
  std::size_t long_array();
  unsigned char byte();
  std::string_view take(std::size_t count);
  std::uint64_t big_endian(std::size_t bytes);

  std::string_view rest_;  // Empty behind an error.
  const char* error_ = nullptr;
};

// Shapes that more than one format uses. `get_*` report through the reader's ok().
void put(Writer& w, const AttemptKey& key);
/// As runs: for what stays on one machine, since a few bytes are many keys.
void put(Writer& w, const std::vector<AttemptKey>& keys);
void put(Writer& w, const JobSpec& spec);
void put(Writer& w, const AttemptResult& result);
void put(Writer& w, const JobCounts& counts);
void put(Writer& w, const Uuid& id);
void put(Writer& w, const std::vector<IndexRange>& ranges);
void put(Writer& w, const Generation& generation);
void get(Reader& r, AttemptKey& key);
void get(Reader& r, std::vector<AttemptKey>& keys);
void get(Reader& r, JobSpec& spec);
void get(Reader& r, AttemptResult& result);
void get(Reader& r, JobCounts& counts);
void get(Reader& r, Uuid& id);
void get(Reader& r, std::vector<IndexRange>& ranges);
void get(Reader& r, Generation& generation);

/// One frame. Never fails: whoever makes a list cuts it (size_bound below), so that a frame stays
/// within kReplyBytes (between masters kAnyFrameBytes). What is larger all the same is not sent
/// (Sessions::send, the transports).
std::string encode(const msg::Message& message);
/// Errc::Protocol with what was wrong; nothing is half decoded. Refuses more than kAnyFrameBytes.
Result<msg::Message> decode(std::string_view frame);

/// At most so many bytes of a frame: to cut lists before they are sent. kEnvelopeBytes for the rest
/// of the frame.
inline constexpr std::size_t kEnvelopeBytes = 256;
std::size_t size_bound(const JobSpec& spec);
std::size_t size_bound(const AttemptResult& result);
std::size_t size_bound(const msg::JobView& job);
std::size_t size_bound(const msg::TaskView& task);
std::size_t size_bound(const msg::TaskEnded& ended);
std::size_t size_bound(const msg::WorkerView& worker);

/// "Start", "WorkerHello" …, for logs.
const char* type_name(const msg::Body& body);
/// The name of a frame's type without decoding it; "": none that is known.
const char* type_name_of(std::string_view frame);

}  // namespace capstan::wire
