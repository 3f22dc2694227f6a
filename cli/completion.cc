// SPDX-License-Identifier: MIT
#include "cli/completion.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options/cmdline.hpp>
#include <sstream>
#include <utility>

#include "cli/output.h"
#include "cli/verb_table.h"
#include "common/model/job.h"
#include "common/model/task.h"

namespace capstan::cli {
namespace {

using Kind = ValueHint::Kind;

/// Prints the newest jobs' ids. Nobody waits long for a key press: one second, or nothing.
constexpr const char* kJobIds =
    "capstan --timeout 1s jobs --limit 50 --json 2>/dev/null | "
    "sed -n 's/^{\"id\":\\([0-9]*\\),.*/\\1/p'";

std::vector<std::string> split(std::string_view text, char mark) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = std::min(text.find(mark), text.size());
    if (end != 0) parts.emplace_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string joined(const std::vector<std::string>& words, std::string_view between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(between)) + word;
  return text;
}

template <class State>
std::vector<std::string> states_up_to(State last) {
  std::vector<std::string> words;
  for (unsigned i = 0; i <= static_cast<unsigned>(last); ++i) {
    words.emplace_back(to_string(static_cast<State>(i)));
  }
  return words;
}

bool takes_value(const po::option_description& option) {
  return option.semantic()->min_tokens() > 0;
}

/// "-q", or "".
std::string brief_of(const po::option_description& option) {
  const std::string name =
      option.canonical_display_name(po::command_line_style::allow_dash_for_short);
  return name.size() == 2 && name[1] != '-' ? name : "";
}

/// As it is typed: "--quiet", and "-q" when there is one.
std::vector<std::string> spellings(const po::option_description& option) {
  std::vector<std::string> names = {"--" + option.long_name()};
  if (const std::string brief = brief_of(option); !brief.empty()) names.push_back(brief);
  return names;
}

/// Up to its first full stop, colon or semicolon: a line of a menu.
std::string gist(const std::string& text) {
  const std::size_t end = std::min({text.find(". "), text.find(": "), text.find("; ")});
  std::string line = text.substr(0, end);
  if (line.ends_with('.')) line.pop_back();
  return line;
}

bool takes_jobs(const Verb& verb) {
  return verb.shape().word == "ID";
}
bool takes_command(const Verb& verb) {
  return verb.shape().command != Verb::Shape::Command::None;
}

/// A word in single quotes for a shell, with `marks` behind backslashes.
std::string single_quoted(std::string_view text, std::string_view marks) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (marks.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out + "'";
}

// --- bash ----------------------------------------------------------------------------------------

constexpr const char* kBash = R"sh(# Completes capstan in bash. Made by: capstan completion bash
_capstan() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  local verb= options= actions= jobs= command= seen=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      --|:*) compopt -o default 2>/dev/null; return ;;
      --access|--timeout) ((i++)) ;;
      -*) ;;
      *) if [[ -z $verb ]]; then verb=$word; else ((seen++)); fi ;;
    esac
  done
  if [[ -z $verb ]]; then
    case $prev in
      --access) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
      --timeout) return ;;
    esac
    COMPREPLY=($(compgen -W '@VERBS@ --access --timeout --help --version' -- "$cur"))
    return
  fi
  case $verb in
    help) [[ $seen == 0 ]] && COMPREPLY=($(compgen -W '@VERBS@' -- "$cur")); return ;;
@CASES@    *) return ;;
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
    return
  fi
  if [[ $seen == 0 && -n $actions ]]; then COMPREPLY=($(compgen -W "$actions" -- "$cur")); fi
  if [[ -n $jobs ]]; then
    COMPREPLY+=($(compgen -W "last all $(@JOBS@)" -- "$cur"))
  elif [[ -n $command && $seen == 0 ]]; then
    COMPREPLY+=($(compgen -c -- "$cur"))
  elif [[ -n $command ]]; then
    compopt -o default 2>/dev/null
  fi
}
complete -F _capstan capstan
)sh";

/// `text` with each mark replaced by its words.
std::string filled_in(std::string text,
                      const std::vector<std::pair<std::string, std::string>>& marks) {
  for (const auto& [mark, words] : marks) {
    for (std::size_t at = text.find(mark); at != std::string::npos;
         at = text.find(mark, at + words.size())) {
      text.replace(at, mark.size(), words);
    }
  }
  return text;
}

std::string bash_action(const ValueHint& hint) {
  switch (hint.kind) {
    case Kind::None:
      return "return";
    case Kind::File:
      return "compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return";
    case Kind::Directory:
      return "compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$cur\")); return";
    case Kind::Words:
      return "COMPREPLY=($(compgen -W '" + joined(hint.words) + "' -- \"$cur\")); return";
  }
  return "return";
}

std::string bash_case(const Verb& verb) {
  std::string values;
  std::vector<std::string> options;
  for (const auto& option : verb.options().options()) {
    const auto names = spellings(*option);
    options.insert(options.end(), names.begin(), names.end());
    if (!takes_value(*option)) continue;
    values +=
        fmt::format("        {}) {} ;;\n", joined(names, "|"), bash_action(hint_of(verb, *option)));
  }
  std::string text = fmt::format("    {})\n      options='{}'\n", verb.name(), joined(options));
  if (const auto actions = actions_of(verb); !actions.empty()) {
    text += fmt::format("      actions='{}'\n", joined(actions));
  }
  if (takes_jobs(verb)) text += "      jobs=yes\n";
  if (takes_command(verb)) text += "      command=yes\n";
  if (!values.empty()) text += "      case $prev in\n" + values + "      esac\n";
  return text + "      ;;\n";
}

// --- zsh -----------------------------------------------------------------------------------------

std::string zsh_value(const Verb& verb, const po::option_description& option) {
  if (!takes_value(option)) return "";
  const ValueHint hint = hint_of(verb, option);
  const std::string name = option.semantic()->name();
  std::string plain;
  for (const char c : name) plain += c == ':' || c == '\'' ? ' ' : c;
  switch (hint.kind) {
    case Kind::None:
      return ":" + plain + ": ";
    case Kind::File:
      return ":" + plain + ":_files";
    case Kind::Directory:
      return ":" + plain + ":_files -/";
    case Kind::Words:
      return ":" + plain + ":(" + joined(hint.words) + ")";
  }
  return "";
}

std::string zsh_case(const Verb& verb) {
  std::string text = fmt::format("    {})\n      _arguments -S \\\n", verb.name());
  for (const auto& option : verb.options().options()) {
    const std::string value = zsh_value(verb, *option);
    for (const std::string& name : spellings(*option)) {
      // Brackets within the note would end it.
      std::string inner = gist(option->description());
      std::replace(inner.begin(), inner.end(), '[', '(');
      std::replace(inner.begin(), inner.end(), ']', ')');
      text += fmt::format("        {} \\\n", single_quoted("*" + name + "[" + inner + "]", ":") +
                                                 single_quoted(value, ""));
    }
  }
  const auto actions = actions_of(verb);
  if (takes_command(verb)) {
    text += "        '*:: :_normal'\n";
  } else if (takes_jobs(verb)) {
    text += fmt::format("        '*:job:(last all {} '\"$({})\"')'\n", joined(actions),
                        std::string(kJobIds));
  } else if (!actions.empty()) {
    text += fmt::format("        '1:action:({})' '*: :_files'\n", joined(actions));
  } else {
    text += "        '*: :_files'\n";
  }
  return text + "      ;;\n";
}

// --- fish ----------------------------------------------------------------------------------------

std::string fish_option(const Verb& verb, const po::option_description& option) {
  std::string line = fmt::format("complete -c capstan -n '__fish_seen_subcommand_from {}' -l {}",
                                 verb.name(), option.long_name());
  if (const std::string brief = brief_of(option); !brief.empty()) {
    line += " -s " + brief.substr(1);
  }
  if (takes_value(option)) {
    const ValueHint hint = hint_of(verb, option);
    if (hint.kind == Kind::None) line += " -x";
    if (hint.kind == Kind::File) line += " -rF";
    if (hint.kind == Kind::Directory) line += " -xa '(__fish_complete_directories)'";
    if (hint.kind == Kind::Words) line += " -xa " + single_quoted(joined(hint.words), "\\");
  }
  return line + " -d " + single_quoted(gist(option.description()), "\\") + "\n";
}

class CompletionVerb final : public Verb {
 public:
  CompletionVerb() : Verb("completion", "print a completion script", {"SHELL", 1, 1}) {
    page_.synopsis = {"capstan completion bash|zsh|fish"};
    page_.description =
        "Prints a script that makes a shell complete verbs, options, their values, files, and the "
        "ids of jobs. It is made from what this program knows itself: after an upgrade make it "
        "anew, or have the shell do so at each start.";
    set_examples(
        "  source <(capstan completion bash)       # in ~/.bashrc\n"
        "  capstan completion zsh > ~/.zfunc/_capstan   # a folder of $fpath\n"
        "  capstan completion fish > ~/.config/fish/completions/capstan.fish\n");
    set_exits(
        "  0    done\n"
        "  2    no such shell\n");
  }

  Outcome<int> run(const Words& words) override {
    const std::string& shell = words.positionals.front();
    const Verbs verbs = make_all_verbs();
    Output out(STDOUT_FILENO);
    if (shell == "bash") {
      out.write(bash_completion(verbs));
    } else if (shell == "zsh") {
      out.write(zsh_completion(verbs));
    } else if (shell == "fish") {
      out.write(fish_completion(verbs));
    } else {
      return usage_error("no script for '" + printable(shell) + "': bash, zsh or fish");
    }
    TRY(out.flush());
    return kExitOk;
  }
};

}  // namespace

ValueHint hint_of(const Verb& verb, const po::option_description& option) {
  const std::string name = option.semantic()->name();
  if (name.starts_with("FILE")) return {Kind::File, {}};
  if (name.starts_with("DIR")) return {Kind::Directory, {}};
  if (name.starts_with("STATE")) {
    return {Kind::Words, verb.name() == "jobs" ? states_up_to(JobState::Skipped)
                                               : states_up_to(TaskState::Skipped)};
  }
  if (name.find('|') != std::string::npos) return {Kind::Words, split(name, '|')};
  return {};
}

std::vector<std::string> actions_of(const Verb& verb) {
  std::vector<std::string> actions;
  for (const std::string& line : verb.synopsis()) {
    std::istringstream words(line);
    std::string capstan, name, action;
    words >> capstan >> name >> action;
    const bool is_plain = !action.empty() && std::all_of(action.begin(), action.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || c == '|';
    });
    if (name != verb.name() || !is_plain) continue;
    for (std::string& one : split(action, '|')) {
      if (std::find(actions.begin(), actions.end(), one) == actions.end()) {
        actions.push_back(std::move(one));
      }
    }
  }
  return actions;
}

std::string bash_completion(const Verbs& verbs) {
  std::vector<std::string> names = {"help"};
  std::string cases;
  for (const auto& verb : verbs) {
    names.push_back(verb->name());
    cases += bash_case(*verb);
  }
  return filled_in(kBash, {{"@VERBS@", joined(names)}, {"@CASES@", cases}, {"@JOBS@", kJobIds}});
}

std::string zsh_completion(const Verbs& verbs) {
  std::string described, cases;
  for (const auto& verb : verbs) {
    described += fmt::format("    {}\n", single_quoted(verb->name() + ":" + verb->summary(), ""));
    cases += zsh_case(*verb);
  }
  return "#compdef capstan\n# Completes capstan in zsh. Made by: capstan completion zsh\n"
         "_capstan() {\n  local -a verbs\n  verbs=(\n    'help:print a manual page'\n" +
         described +
         "  )\n"
         "  if (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\n  fi\n"
         "  shift words\n  (( CURRENT-- ))\n"
         "  case $words[1] in\n    help) _describe verb verbs ;;\n" +
         cases +
         "  esac\n}\n"
         "if [[ $funcstack[1] == _capstan ]]; then _capstan \"$@\"; "
         "else compdef _capstan capstan; fi\n";
}

std::string fish_completion(const Verbs& verbs) {
  std::string text =
      "# Completes capstan in fish. Made by: capstan completion fish\n"
      "complete -c capstan -f\n"
      "complete -c capstan -n __fish_use_subcommand -a help -d 'print a manual page'\n";
  for (const auto& verb : verbs) {
    const std::string seen = "'__fish_seen_subcommand_from " + verb->name() + "'";
    text += fmt::format("complete -c capstan -n __fish_use_subcommand -a {} -d {}\n", verb->name(),
                        single_quoted(verb->summary(), "\\"));
    for (const auto& option : verb->options().options()) text += fish_option(*verb, *option);
    if (const auto actions = actions_of(*verb); !actions.empty()) {
      text += fmt::format("complete -c capstan -n {} -a '{}'\n", seen, joined(actions));
    }
    if (takes_jobs(*verb)) {
      text += fmt::format("complete -c capstan -n {} -a 'last all ({})'\n", seen,
                          "capstan --timeout 1s jobs --limit 50 --json 2>/dev/null | "
                          "string match -rg \"^.\\\"id\\\":([0-9]+)\"");
    }
    if (takes_command(*verb)) text += fmt::format("complete -c capstan -n {} -F\n", seen);
  }
  return text;
}

std::unique_ptr<Verb> make_completion_verb() {
  return std::make_unique<CompletionVerb>();
}

}  // namespace capstan::cli
