// SPDX-License-Identifier: MIT
//
// A verb of the command line: its options_description parses its words and prints its manual page;
// run() does it. Each verb is one class whose members are the variables that its options are bound
// to; main.cc has the table of them.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/args.h"
#include "cli/outcome.h"
#include "common/base/config.h"

namespace capstan::cli {

/// A verb's words that are no options.
struct Words {
  std::set<std::string> given;           ///< Long names of the options that were there.
  std::vector<std::string> positionals;  ///< Of verbs without a command.
  bool has_command = false;              ///< `--` was there.
  std::vector<Bytes> command;
  std::vector<InputSource> sources;
  [[nodiscard]] bool has(const std::string& option) const { return given.count(option) != 0; }
};

class Verb {
 public:
  /// What a verb takes besides options.
  struct Shape {
    std::string word;  ///< "ID": what a positional is.
    std::size_t min = 0;
    std::size_t max = 0;
    enum class Command : unsigned char {
      None,          ///< What stands behind `--` are positionals.
      Anywhere,      ///< Everything from the first plain word or `--` on.
      BehindDashes,  ///< Only behind `--`; words before it are positionals.
    };
    Command command = Command::None;
    bool takes_inputs = false;  ///< `:::` and `::::` may follow.
  };
  virtual ~Verb() = default;
  Verb(const Verb&) = delete;
  Verb& operator=(const Verb&) = delete;

  /// Sets the bound variables. One line that names the problem and the fix when it cannot be meant.
  /// What is not typed comes from `layers`.
  Outcome<Words> parse(const CutLine& line, const std::vector<config::Layer>& layers = {});
  /// Sets the bound variables as `layers` say; nothing is typed.
  Outcome<void> settle(const std::vector<config::Layer>& layers);
  /// The manual page.
  [[nodiscard]] std::string help() const { return config::help_text(page_, options_); }
  [[nodiscard]] const std::string& summary() const { return page_.summary; }
  [[nodiscard]] const po::options_description& options() const { return options_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] const std::vector<std::string>& synopsis() const { return page_.synopsis; }
  /// "submit".
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] CommonOptions& common() { return common_; }
  [[nodiscard]] const CommonOptions& common() const { return common_; }
  /// REQUIRES: parse() was called. The exit code.
  virtual Outcome<int> run(const Words& words) = 0;

 protected:
  Verb(std::string name, std::string summary, Shape shape);
  /// The last section of a page: "0   …" lines. Call it last in a constructor.
  void set_exits(std::string text);
  void set_examples(std::string text);

  const std::string name_;
  const Shape shape_;
  config::Page page_;
  po::options_description options_;
  CommonOptions common_;
};

/// What most verbs that only ask or steer end with.
inline constexpr std::string_view kPlainExits =
    "  0    done\n"
    "  2    the command line cannot be meant; nothing was sent\n"
    "  3    refused by the master: no such job, not yours, not this cluster's key\n"
    "  75   no answer in time; try again\n";

/// What a selector is, for manual pages.
inline constexpr std::string_view kSelectorText =
    "ID is 17 (a job), 17.42 (one of its tasks), 17.1-100 (a range of them), last (your newest "
    "job) or all (your live jobs).";

}  // namespace capstan::cli
