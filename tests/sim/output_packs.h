// SPDX-License-Identifier: MIT
//
// What a simulated master has of the output of tasks: how much of each stream, not the bytes.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "master/api/doors.h"

namespace capstan::sim {

class OutputPacks {
 public:
  void append(const api::Logs::Chunk& chunk);
  [[nodiscard]] api::Logs::Part read(const AttemptKey& key, Stream stream, std::uint64_t offset);
  void remove(JobId job);

 private:
  struct Delivered {
    std::uint64_t upto = 0;
    bool complete = false;
  };
  std::map<std::pair<AttemptKey, Stream>, Delivered> delivered_;
};

}  // namespace capstan::sim
