// SPDX-License-Identifier: MIT
//
// One end of the socket pair: frames in, frames out, never waiting. What does not fit into the
// socket stays in a buffer until the other side reads on; its size is the owner's to watch.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "worker/core/pair_codec.h"

namespace capstan {

class PairChannel {
 public:
  PairChannel() = default;
  /// Makes the descriptor non-blocking.
  explicit PairChannel(UniqueFd fd);

  [[nodiscard]] bool is_open() const { return static_cast<bool>(fd_); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Where frames are to be appended.
  [[nodiscard]] std::string& out() { return out_; }
  [[nodiscard]] std::size_t waiting_bytes() const { return out_.size() - sent_; }
  /// Writes what the socket takes. False: the other side is gone.
  bool flush();
  /// Reads what is there, at most a few hundred KiB, and hands over each whole frame. False: the
  /// other side is gone, or what it says makes no sense; all that it said before was handed over.
  bool receive(const std::function<bool(std::string_view)>& on_frame);
  void close();

 private:
  UniqueFd fd_;
  pair::Framer framer_;
  std::string out_;
  std::size_t sent_ = 0;
};

}  // namespace capstan
