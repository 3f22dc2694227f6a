// SPDX-License-Identifier: MIT
#include "tests/sim/output_packs.h"

#include <algorithm>

#include "common/model/limits.h"

namespace capstan::sim {

void OutputPacks::append(const api::Logs::Chunk& chunk) {
  Delivered& delivered = delivered_[{chunk.key, chunk.stream}];
  delivered.upto = std::max<std::uint64_t>(delivered.upto, chunk.offset + chunk.data.size());
  delivered.complete |= chunk.last;
}

api::Logs::Part OutputPacks::read(const AttemptKey& key, Stream stream, std::uint64_t offset) {
  const Delivered& delivered = delivered_[{key, stream}];
  api::Logs::Part part;
  part.offset = offset;
  part.total = delivered.upto;
  if (offset < delivered.upto) {
    part.data =
        Bytes(std::min<std::uint64_t>(delivered.upto - offset, limits::kLogChunkBytes), 'x');
  }
  part.end = delivered.complete && offset + part.data.size() >= delivered.upto;
  return part;
}

void OutputPacks::remove(JobId job) {
  std::erase_if(delivered_, [&](const auto& each) { return each.first.first.job == job; });
}

}  // namespace capstan::sim
