// SPDX-License-Identifier: MIT
//
// Two masters and a witness on real sockets, as `init` makes them, and workers of theirs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/cluster.h"

namespace capstan::itest {

/// Nodes a, b, w, and workers w1 …
class Pair {
 public:
  struct Options {
    int workers = 1;
    int cpus = 1;  ///< Of each worker.
    std::string worker_program = program("capstan-worker");
  };
  explicit Pair(Options options);
  Pair() : Pair(Options{}) {}

  void start(const std::string& node, const std::string& master = program("capstan-master"));
  void kill(const std::string& node);
  /// As a person does it: SIGTERM.
  void stop(const std::string& node);
  [[nodiscard]] Child& node(const std::string& name) { return *nodes_.at(name); }
  [[nodiscard]] Child& worker(const std::string& name) { return *workers_.at(name); }
  /// A node's directory.
  [[nodiscard]] std::string dir_of(const std::string& node) const { return dir_ / "c/" + node; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  [[nodiscard]] const Args& masters() const { return init_; }
  [[nodiscard]] const Cli& cli() const { return cli_; }
  [[nodiscard]] Database database(const std::string& node) const {
    return Database(dir_of(node) + "/capstan.db");
  }

  /// `cluster --json`; null: nobody answered.
  [[nodiscard]] Json view() const;
  /// "": nobody leads.
  [[nodiscard]] std::string primary() const;
  [[nodiscard]] bool is_in_sync() const;
  [[nodiscard]] bool is_solo() const;
  void wait_in_sync() const;
  [[nodiscard]] static std::string other(const std::string& node) {
    return node == "a" ? "b" : "a";
  }
  /// Both databases have the same jobs, tasks and attempts.
  void check_same_rows() const;

 private:
  TempDir dir_;
  Cli cli_;
  Args init_;  ///< What init was told, but for the directory.
  std::map<std::string, std::unique_ptr<Child>> nodes_;
  std::map<std::string, std::unique_ptr<Child>> workers_;
};

}  // namespace capstan::itest
