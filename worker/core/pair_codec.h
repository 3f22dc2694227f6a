// SPDX-License-Identifier: MIT
//
// The pair's messages to bytes and back: a 4-byte little-endian length, then msgpack
// [type, [fields in the order of pair.h]]. Pure. Also the shapes that the spool file shares.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/wire/codec.h"
#include "worker/core/pair.h"

namespace capstan::pair {

/// Appends one framed message to `out`.
void encode(const ToAgent& message, std::string& out);
void encode(const ToShepherd& message, std::string& out);

/// The payload of one frame, without its length.
Result<ToAgent> decode_to_agent(std::string_view payload);
Result<ToShepherd> decode_to_shepherd(std::string_view payload);

/// The same as encode(Ended): `items` of them are written already, one behind the other.
void encode_ended(std::size_t items, std::string_view written, std::string& out);
void put(wire::Writer& w, const SpoolItem& item);
void get(wire::Reader& r, SpoolItem& item);

/// Cuts a byte stream into frames.
class Framer {
 public:
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  /// The next whole frame's payload; valid until the next call of feed(). False: not there yet.
  /// Errc::Corrupt when a length is beyond kPairFrameBytes: the stream is lost.
  Result<bool> next(std::string_view& payload);
  void clear();

 private:
  std::string buffer_;
  std::size_t at_ = 0;  // Consumed so far.
};

}  // namespace capstan::pair
