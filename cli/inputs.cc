// SPDX-License-Identifier: MIT
#include "cli/inputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/unique_fd.h"
#include "common/model/limits.h"
#include "common/model/render.h"

namespace capstan::cli {
namespace {

/// Read at once from a file: two system calls a megabyte more or less do not matter.
constexpr std::size_t kReadBytes = 256 * 1024;
/// A byte string of msgpack costs at most so much beside its bytes.
constexpr std::size_t kInputOverhead = 5;
/// {#} is filled with at most ten digits; two quotes around what a shell gets.
constexpr std::size_t kPlaceholderMin = 12;
/// An apostrophe quoted for sh takes four bytes.
constexpr std::size_t kQuotingFactor = 4;
constexpr std::size_t kDigestBlock = 64 * 1024;

void append_length(std::string& out, std::uint32_t length) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((length >> shift) & 0xFF);
}

/// Adds to a list, with the words for where an input that is refused came from.
class Collector {
 public:
  Collector(InputList& list, const InputChecker& checker) : list_(list), checker_(checker) {}

  /// `where` makes words; it is called only when they are needed.
  template <class Where>
  Outcome<void> add(std::string_view input, const Where& where) {
    if (list_.size() == limits::kTasksPerJob) {
      return usage_error(
          fmt::format("more than {} inputs: split them over several jobs", limits::kTasksPerJob));
    }
    const TaskIndex index(static_cast<std::uint32_t>(list_.size() + 1));
    if (const auto checked = checker_.check(index, input); !checked) {
      return usage_error(where() + ": " + checked.error().message);
    }
    list_.add(input);
    return {};
  }

 private:
  InputList& list_;
  const InputChecker& checker_;
};

std::string file_name(const std::string& path) {
  return path == "-" ? "standard input" : printable(path);
}

Outcome<UniqueFd> open_for_reading(const std::string& path) {
  if (path == "-") return UniqueFd(::dup(STDIN_FILENO));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return usage_error("cannot read " + printable(path) + ": " + errno_text(errno) +
                       "; give a file of inputs, one a line");
  }
  return fd;
}

/// Hands out the whole lines of `text` and returns what is left of it.
Outcome<std::string_view> split_lines(std::string_view text, const OnLine& on_line) {
  while (true) {
    const auto* newline = static_cast<const char*>(std::memchr(text.data(), '\n', text.size()));
    if (newline == nullptr) return text;
    const auto length = static_cast<std::size_t>(newline - text.data());
    TRY(on_line(text.substr(0, length)));
    text.remove_prefix(length + 1);
  }
}

}  // namespace

InputChecker::InputChecker(const JobSpec& spec) : spec_(spec) {
  for (const Bytes& argument : spec.argv) {
    longest_argument_ = std::max(longest_argument_, argument.size());
    const auto braces = std::count(argument.begin(), argument.end(), '{');
    most_placeholders_ = std::max(most_placeholders_, static_cast<std::size_t>(braces));
  }
}

Result<void> InputChecker::check(TaskIndex index, std::string_view input) const {
  const std::size_t filled = (spec_.shell ? kQuotingFactor : 1) * input.size() + kPlaceholderMin;
  // One more than there are placeholders: where there is none, the input is appended.
  const std::size_t bound = longest_argument_ + (most_placeholders_ + 1) * filled;
  const bool has_nul = std::memchr(input.data(), 0, input.size()) != nullptr;
  if (bound <= limits::kArgumentBytes && !has_nul) return {};
  if (has_nul) { return fail(Errc::Invalid, "it has a NUL byte, which no argument can have"); }
  if (input.size() > limits::kInputBytes) {
    return fail(Errc::Invalid, fmt::format("an input of {} bytes is too long: at most {}",
                                           input.size(), limits::kInputBytes));
  }
  TRY(render_command(spec_, index, input));
  return {};
}

void InputList::add(std::string_view input) {
  const auto cost = [](const Chunk& chunk) {
    return chunk.bytes.size() + kInputOverhead * chunk.lengths.size();
  };
  if (chunks_.empty() ||
      cost(chunks_.back()) + input.size() + kInputOverhead > limits::kInputChunkBytes) {
    if (!chunks_.empty()) {
      chunks_.back().bytes.shrink_to_fit();
      chunks_.back().lengths.shrink_to_fit();
    }
    chunks_.emplace_back();
  }
  Chunk& chunk = chunks_.back();
  chunk.bytes.append(input);
  chunk.lengths.push_back(static_cast<std::uint32_t>(input.size()));
  ++size_;
}

std::vector<Bytes> InputList::part(std::uint64_t number) const {
  const Chunk& chunk = chunks_[static_cast<std::size_t>(number)];
  std::vector<Bytes> inputs;
  inputs.reserve(chunk.lengths.size());
  std::size_t at = 0;
  for (const std::uint32_t length : chunk.lengths) {
    inputs.push_back(chunk.bytes.substr(at, length));
    at += length;
  }
  return inputs;
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

Outcome<void> read_lines(const std::string& path, const OnLine& on_line) {
  const UniqueFd fd = TRY(open_for_reading(path));
  std::string buffer;
  std::size_t kept = 0;  // An unfinished line at the buffer's beginning.
  while (true) {
    buffer.resize(kept + kReadBytes);
    const ssize_t got = ::read(fd.get(), buffer.data() + kept, kReadBytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return usage_error("cannot read " + file_name(path) + ": " + errno_text(errno));
    if (got == 0) break;
    const std::string_view have(buffer.data(), kept + static_cast<std::size_t>(got));
    const std::string_view rest = TRY(split_lines(have, on_line));
    kept = rest.size();
    // A line that can't be an input is not collected to its end, which may never come.
    if (kept > limits::kInputBytes) return on_line(rest);
    std::memmove(buffer.data(), rest.data(), kept);
  }
  if (kept != 0) TRY(on_line(std::string_view(buffer.data(), kept)));
  return {};
}

Outcome<InputList> read_inputs(const InputRequest& request, const InputChecker& checker) {
  InputList list;
  Collector collector(list, checker);
  if (request.source == InputSource::Words) {
    for (const Bytes& word : request.from) {
      TRY(collector.add(word, [&] { return fmt::format("input {}", list.size() + 1); }));
    }
  }
  if (request.source == InputSource::Files) {
    for (const Bytes& path : request.from) {
      std::uint64_t line = 0;
      TRY(read_lines(path, [&](std::string_view text) -> Outcome<void> {
        ++line;
        return collector.add(text,
                             [&] { return fmt::format("line {} of {}", line, file_name(path)); });
      }));
    }
  }
  if (list.size() == 0) { return usage_error("there are no inputs: a job needs one at least"); }
  return list;
}

}  // namespace capstan::cli
