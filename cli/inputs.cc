// SPDX-License-Identifier: MIT
#include "cli/inputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/base/unique_fd.h"
#include "common/model/limits.h"

namespace capstan::cli {
namespace {

/// Read at once from a file: two system calls a megabyte more or less do not matter.
constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kChunkBytes = 64 * 1024;
constexpr std::size_t kDigestBlock = 64 * 1024;

void append_length(std::string& out, std::uint32_t length) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((length >> shift) & 0xFF);
}

Outcome<UniqueFd> open_for_reading(const std::string& path) {
  if (path == "-") return UniqueFd(::dup(STDIN_FILENO));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return usage_error("cannot read " + printable(path) + ": " + errno_text(errno) +
                       "; give a file that can be read");
  }
  return fd;
}

/// What was read behind `kept` bytes of `buffer`: the buffer ends there. 0 at the end of the file.
Outcome<std::size_t> read_behind(const UniqueFd& fd, const std::string& path, std::string& buffer,
                                 std::size_t kept) {
  buffer.resize(kept + kReadBytes);
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data() + kept, kReadBytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return usage_error("cannot read " + file_name(path) + ": " + errno_text(errno));
    buffer.resize(kept + static_cast<std::size_t>(got));
    return static_cast<std::size_t>(got);
  }
}

/// Hands out the whole values of `text` and returns what is left of it.
Outcome<std::string_view> split_values(std::string_view text, char end, const OnValue& on_value) {
  while (true) {
    const auto* found = static_cast<const char*>(std::memchr(text.data(), end, text.size()));
    if (found == nullptr) return text;
    const auto length = static_cast<std::size_t>(found - text.data());
    TRY(on_value(text.substr(0, length)));
    text.remove_prefix(length + 1);
  }
}

}  // namespace

void InputList::add(std::string_view input) {
  if (chunks_.empty() || chunks_.back().bytes.size() + input.size() > kChunkBytes ||
      chunks_.back().lengths.size() == kChunkBytes) {
    if (!chunks_.empty()) {
      chunks_.back().bytes.shrink_to_fit();
      chunks_.back().lengths.shrink_to_fit();
    }
    chunks_.emplace_back();
    chunks_.back().first = size_;
  }
  Chunk& chunk = chunks_.back();
  chunk.bytes.append(input);
  chunk.lengths.push_back(static_cast<std::uint32_t>(input.size()));
  ++size_;
}

Digest InputList::digest(const Digest& before) const {
  Digest digest = before;
  std::string block;
  for (const Chunk& chunk : chunks_) {
    std::size_t at = 0;
    for (const std::uint32_t length : chunk.lengths) {
      append_length(block, length);
      block.append(chunk.bytes, at, length);
      at += length;
      if (block.size() < kDigestBlock) continue;
      digest = chained_digest(digest, block);
      block.clear();
    }
  }
  return block.empty() ? digest : chained_digest(digest, block);
}

std::string_view InputList::Cursor::value() const {
  const Chunk& chunk = list_->chunks_[chunk_];
  return std::string_view(chunk.bytes).substr(byte_, chunk.lengths[in_chunk_]);
}

void InputList::Cursor::advance() {
  const Chunk& chunk = list_->chunks_[chunk_];
  byte_ += chunk.lengths[in_chunk_];
  if (++in_chunk_ < chunk.lengths.size()) return;
  ++chunk_;
  in_chunk_ = byte_ = 0;
}

void InputList::Cursor::seek(std::uint64_t index) {
  const auto& chunks = list_->chunks_;
  in_chunk_ = byte_ = 0;
  chunk_ = chunks.size();
  if (index >= list_->size_) return;
  const auto behind =
      std::upper_bound(chunks.begin(), chunks.end(), index,
                       [](std::uint64_t at, const Chunk& chunk) { return at < chunk.first; });
  chunk_ = static_cast<std::size_t>(behind - chunks.begin()) - 1;
  while (chunks[chunk_].first + in_chunk_ < index) advance();
}

Outcome<void> read_values(const std::string& path, char end, const OnValue& on_value) {
  const UniqueFd fd = TRY(open_for_reading(path));
  std::string buffer;
  std::size_t kept = 0;  // An unfinished value at the buffer's beginning.
  while (TRY(read_behind(fd, path, buffer, kept)) != 0) {
    const std::string_view rest = TRY(split_values(buffer, end, on_value));
    kept = rest.size();
    // One that can't be an input is not collected to its end, which may never come.
    if (kept > limits::kInputBytes) return on_value(rest);
    std::memmove(buffer.data(), rest.data(), kept);
  }
  if (kept != 0) TRY(on_value(std::string_view(buffer.data(), kept)));
  return {};
}

Outcome<Bytes> read_file(const std::string& path, std::size_t most, std::string_view too_long) {
  const UniqueFd fd = TRY(open_for_reading(path));
  Bytes content;
  while (TRY(read_behind(fd, path, content, content.size())) != 0) {
    if (content.size() <= most) continue;
    return usage_error(
        fmt::format("{} has more than {} bytes: {}", file_name(path), most, too_long));
  }
  return content;
}

std::string file_name(const std::string& path) {
  return path == "-" ? "standard input" : printable(path);
}

}  // namespace capstan::cli
