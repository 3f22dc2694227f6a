// SPDX-License-Identifier: MIT
#include "common/model/render.h"

#include <fmt/format.h>

#include "common/model/limits.h"

namespace capstan {
namespace {

/// `s:\.[^/.]+$::` of GNU parallel: the last component's extension; "a." has none.
std::string_view without_extension(std::string_view path) {
  const std::size_t mark = path.find_last_of("./");
  const bool found = mark != std::string_view::npos && path[mark] == '.' && mark + 1 < path.size();
  return found ? path.substr(0, mark) : path;
}

/// Behind the last slash; nothing for "a/".
std::string_view base_name(std::string_view path) {
  return path.substr(path.find_last_of('/') + 1);
}

std::string_view without_slashes_at_end(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

/// As dirname(1): "." for a bare name, "/" for what is in the root.
std::string_view dir_name(std::string_view path) {
  path = without_slashes_at_end(path);
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string_view::npos) return ".";
  return without_slashes_at_end(path.substr(0, slash + 1));
}

struct Placeholder {
  std::string_view mark;
  std::string_view (*value)(std::string_view input);  ///< Null: the task's index.
};

constexpr Placeholder kPlaceholders[] = {
    {"{}", [](std::string_view input) { return input; }},
    {"{.}", without_extension},
    {"{/}", base_name},
    {"{//}", dir_name},
    {"{/.}", [](std::string_view input) { return without_extension(base_name(input)); }},
    {"{#}", nullptr},
};

/// The placeholder that `text` begins with.
const Placeholder* placeholder_at(std::string_view text) {
  for (const Placeholder& placeholder : kPlaceholders) {
    if (text.starts_with(placeholder.mark)) return &placeholder;
  }
  return nullptr;
}

/// One task's values for the placeholders.
class Filler {
 public:
  Filler(bool quoted, TaskIndex index, std::string_view input)
      : quoted_(quoted), index_(std::to_string(index.value)), input_(input) {}

  [[nodiscard]] bool used() const { return used_; }

  /// From left to right, once: what an input brings in is not looked at again.
  Bytes fill(std::string_view argument) {
    Bytes out;
    while (!argument.empty()) {
      const std::size_t brace = std::min(argument.find('{'), argument.size());
      out += argument.substr(0, brace);
      argument.remove_prefix(brace);
      if (argument.empty()) break;
      const Placeholder* found = placeholder_at(argument);
      const std::size_t length = found == nullptr ? 1 : found->mark.size();
      out += found == nullptr ? Bytes("{") : value_of(*found);
      used_ = used_ || found != nullptr;
      argument.remove_prefix(length);
    }
    return out;
  }

  [[nodiscard]] Bytes input() const { return quoted_ ? shell_quoted(input_) : Bytes(input_); }

 private:
  [[nodiscard]] Bytes value_of(const Placeholder& placeholder) const {
    if (placeholder.value == nullptr) return index_;
    const std::string_view value = placeholder.value(input_);
    return quoted_ ? shell_quoted(value) : Bytes(value);
  }

  bool quoted_;
  std::string index_;
  std::string_view input_;
  bool used_ = false;
};

Result<void> require_runnable(const std::vector<Bytes>& argv, TaskIndex index) {
  for (const Bytes& argument : argv) {
    if (argument.find('\0') != Bytes::npos) {
      return fail(Errc::Invalid,
                  fmt::format("task {}: an argument has a NUL byte in it, which no program can be "
                              "given: take it out of the input",
                              index.value));
    }
    if (argument.size() > limits::kArgumentBytes) {
      return fail(Errc::Invalid,
                  fmt::format("task {}: an argument has {} bytes, more than the {} that Linux "
                              "takes: pass it in a file",
                              index.value, argument.size(), limits::kArgumentBytes));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Bytes>> render_command(const JobSpec& spec, TaskIndex index,
                                          std::string_view input) {
  std::vector<Bytes> argv;
  if (spec.has_inputs) {
    Filler filler(spec.shell, index, input);
    for (const Bytes& argument : spec.argv) argv.push_back(filler.fill(argument));
    if (!filler.used() && spec.shell && !argv.empty()) {
      argv.front() += ' ' + filler.input();
    } else if (!filler.used()) {
      argv.push_back(filler.input());
    }
  } else {
    argv = spec.argv;
  }
  if (spec.shell) argv.insert(argv.begin(), {"/bin/sh", "-c"});
  TRY(require_runnable(argv, index));
  return argv;
}

}  // namespace capstan
