// SPDX-License-Identifier: MIT
#include "common/model/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

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

using Part = std::string_view (*)(std::string_view value);

/// What may stand behind the number in the braces.
struct PartMark {
  std::string_view text;
  Part part;
};
constexpr PartMark kParts[] = {
    {"}", [](std::string_view value) { return value; }},
    {".}", without_extension},
    {"/}", base_name},
    {"//}", dir_name},
    {"/.}", [](std::string_view value) { return without_extension(base_name(value)); }},
};

/// A placeholder at the beginning of a text.
struct Placeholder {
  std::size_t length = 0;
  std::uint32_t position = 0;  ///< From 1; 0: all values.
  Part part = nullptr;         ///< Null: {#}, the task's index.
};

std::optional<Placeholder> placeholder_at(std::string_view text) {
  constexpr std::string_view kIndex = "{#}";
  constexpr std::size_t kDigits = 5;  // limits::kInputsPerTask has as many.
  if (text.starts_with(kIndex)) return Placeholder{kIndex.size(), 0, nullptr};
  if (!text.starts_with('{')) return std::nullopt;
  Placeholder found;
  std::size_t at = 1;
  while (at < text.size() && at <= kDigits && text[at] >= '0' && text[at] <= '9') {
    found.position = 10 * found.position + static_cast<std::uint32_t>(text[at++] - '0');
  }
  if (at > 1 && text[1] == '0') return std::nullopt;
  for (const PartMark& mark : kParts) {
    if (!text.substr(at).starts_with(mark.text)) continue;
    found.length = at + mark.text.size();
    found.part = mark.part;
    return found;
  }
  return std::nullopt;
}

/// Hands out a text from left to right as what stands between placeholders, and these.
template <class OnText, class OnPlaceholder>
void scan(std::string_view text, const OnText& on_text, const OnPlaceholder& on_placeholder) {
  while (!text.empty()) {
    const std::size_t brace = std::min(text.find('{'), text.size());
    if (brace > 0) on_text(text.substr(0, brace));
    text.remove_prefix(brace);
    if (text.empty()) return;
    const auto found = placeholder_at(text);
    if (found) {
      on_placeholder(*found);
    } else {
      on_text(text.substr(0, 1));
    }
    text.remove_prefix(found ? found->length : 1);
  }
}

/// One task's values for the placeholders.
class Filler {
 public:
  Filler(bool quoted, TaskIndex index, const std::vector<Bytes>& inputs)
      : quoted_(quoted), index_(std::to_string(index.value)), inputs_(inputs) {}

  [[nodiscard]] bool used() const { return used_; }

  /// Once: what an input brings in is not looked at again.
  Bytes fill(std::string_view text) {
    Bytes out;
    scan(
        text, [&](std::string_view plain) { out += plain; },
        [&](const Placeholder& found) {
          used_ = true;
          out += value_of(found);
        });
    return out;
  }

  /// One argument of the template: several where it stands for all values.
  void fill(std::string_view argument, std::vector<Bytes>& argv) {
    const auto whole = placeholder_at(argument);
    const bool is_list = whole && whole->length == argument.size() && whole->part != nullptr &&
                         whole->position == 0 && !quoted_;
    if (!is_list) return argv.push_back(fill(argument));
    used_ = true;
    for (const Bytes& value : inputs_) argv.emplace_back(whole->part(value));
  }

 private:
  [[nodiscard]] Bytes shown(const Placeholder& placeholder, std::string_view value) const {
    const std::string_view part = placeholder.part(value);
    return quoted_ ? shell_quoted(part) : Bytes(part);
  }
  [[nodiscard]] Bytes value_of(const Placeholder& placeholder) const {
    if (placeholder.part == nullptr) return index_;
    if (const std::uint32_t position = placeholder.position; position != 0) {
      return position <= inputs_.size() ? shown(placeholder, inputs_[position - 1]) : Bytes();
    }
    Bytes all;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (i > 0) all += ' ';
      all += shown(placeholder, inputs_[i]);
    }
    return all;
  }

  bool quoted_;
  std::string index_;
  const std::vector<Bytes>& inputs_;
  bool used_ = false;
};

/// Behind a '%' of a path; nullopt when it means nothing.
std::optional<std::string> name_of(char letter, const AttemptNames& names) {
  switch (letter) {
    case 'j':
      return std::to_string(names.key.job.value);
    case 't':
      return std::to_string(names.key.task.value);
    case 'a':
      return std::to_string(names.key.attempt.value);
    case 'w':
      return std::string(names.worker);
    case '%':
      return "%";
    default:
      return std::nullopt;
  }
}

Result<void> validate_text(const JobSpec& spec, const Bytes& text) {
  std::uint32_t most = 0;
  scan(
      text, [](std::string_view) {},
      [&](const Placeholder& found) { most = std::max(most, found.position); });
  if (!spec.has_inputs || most <= spec.inputs_per_task) return {};
  return fail(Errc::Invalid,
              fmt::format("'{{{}}}' in '{}' is more than the {} of a task: combine more lists "
                          "(:::), or say --batch {}",
                          most, printable(text.substr(0, limits::kNameBytes)),
                          spec.inputs_per_task == 1 ? "one input" : "inputs", most));
}

Result<void> validate_path(const JobSpec& spec, const Bytes& pattern) {
  TRY(validate_text(spec, pattern));
  for (std::size_t at = pattern.find('%'); at != Bytes::npos; at = pattern.find('%', at + 2)) {
    const std::string_view mark = std::string_view(pattern).substr(at, 2);
    if (mark.size() == 2 && name_of(mark[1], {})) continue;
    return fail(Errc::Invalid, fmt::format("unknown '{}' in the path '{}': use %j (job), %t (task),"
                                           " %a (attempt), %w (worker) or %%",
                                           printable(mark), printable(pattern)));
  }
  return {};
}

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
                                          const std::vector<Bytes>& inputs) {
  std::vector<Bytes> argv;
  if (spec.has_inputs) {
    Filler filler(spec.shell, index, inputs);
    for (const Bytes& argument : spec.argv) {
      if (argv.empty() && !spec.script.empty()) {
        argv.push_back(argument);
      } else {
        filler.fill(argument, argv);
      }
    }
    if (!filler.used() && spec.shell && !argv.empty()) {
      argv.front() += ' ' + filler.fill("{}");
    } else if (!filler.used()) {
      filler.fill("{}", argv);
    }
  } else {
    argv = spec.argv;
  }
  if (spec.shell) argv.insert(argv.begin(), {"/bin/sh", "-c"});
  TRY(require_runnable(argv, index));
  return argv;
}

Result<Bytes> render_path(const JobSpec& spec, const Bytes& pattern, const AttemptNames& names,
                          const std::vector<Bytes>& inputs) {
  Filler filler(false, names.key.task, inputs);
  Bytes path;
  std::string_view rest = pattern;
  while (!rest.empty()) {
    const std::size_t percent = std::min(rest.find('%'), rest.size());
    const std::string_view text = rest.substr(0, percent);
    path += spec.has_inputs ? filler.fill(text) : Bytes(text);
    rest.remove_prefix(percent);
    if (rest.empty()) break;
    const auto name = rest.size() > 1 ? name_of(rest[1], names) : std::nullopt;
    if (!name) return fail(Errc::Invalid, "unknown " + printable(rest.substr(0, 2)) + " in a path");
    path += *name;
    rest.remove_prefix(2);
  }
  if (path.empty() || path.find('\0') != Bytes::npos) {
    return fail(Errc::Invalid, "the path of a file of output is empty or has a NUL byte");
  }
  if (path[0] != '/') path = spec.cwd + (spec.cwd.ends_with('/') ? "" : "/") + path;
  if (path.size() >= limits::kPathBytes) {
    return fail(Errc::Invalid, fmt::format("the path of a file of output has {} bytes: at most {}",
                                           path.size(), limits::kPathBytes - 1));
  }
  return path;
}

bool is_one_path(const JobSpec& spec, const Bytes& pattern) {
  bool differs = false;
  for (std::size_t at = pattern.find('%'); at != Bytes::npos; at = pattern.find('%', at + 2)) {
    differs = differs || pattern.compare(at, 2, "%t") == 0;
  }
  scan(
      pattern, [](std::string_view) {},
      [&](const Placeholder&) { differs = differs || spec.has_inputs; });
  return !differs;
}

Result<void> validate_placeholders(const JobSpec& spec) {
  for (std::size_t i = spec.script.empty() ? 0 : 1; i < spec.argv.size(); ++i) {
    TRY(validate_text(spec, spec.argv[i]));
  }
  TRY(validate_path(spec, spec.output_path));
  TRY(validate_path(spec, spec.error_path));
  return {};
}

}  // namespace capstan
