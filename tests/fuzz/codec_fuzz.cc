// SPDX-License-Identifier: MIT
//
// Fuzz target: whatever a peer sends, decode() refuses it or makes a message that is whole. With
// clang: -fsanitize=fuzzer -DCAPSTAN_LIBFUZZER. Otherwise main() replays the files and directories
// that it is given; without any it makes its own corpus, one message of each type, and mutates it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "common/wire/codec.h"
#include "tests/unit/common/wire/random_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view frame(reinterpret_cast<const char*>(data), size);
  const auto decoded = capstan::wire::decode(frame);
  if (decoded && !capstan::wire::decode(capstan::wire::encode(*decoded))) std::abort();
  return 0;
}

#ifndef CAPSTAN_LIBFUZZER
namespace {

using namespace capstan;

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::size_t replay(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", path.c_str());
      std::exit(2);
    }
    run({std::istreambuf_iterator<char>(file), {}});
    return 1;
  }
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) count += replay(entry.path());
  }
  return count;
}

/// A few bytes changed, put in, or taken out.
std::string mutated(Rng& rng, std::string frame) {
  for (std::uint64_t left = 1 + rng.below(4); left > 0 && !frame.empty(); --left) {
    const std::size_t at = rng.below(frame.size());
    switch (rng.below(4)) {
      case 0:
        frame[at] = static_cast<char>(rng.next());
        break;
      case 1:
        frame.insert(at, 1, static_cast<char>(0xC0 + rng.below(0x40)));
        break;
      case 2:
        frame.erase(at, 1 + rng.below(3));
        break;
      default:
        frame.insert(at, frame.substr(rng.below(frame.size()), rng.below(16)));
        break;
    }
  }
  return frame;
}

std::size_t run_own_corpus(std::uint64_t seed) {
  constexpr std::size_t kFrames = 5'000;
  constexpr std::size_t kMutations = 40;
  Rng rng(seed);
  for (std::size_t i = 0; i < kFrames; ++i) {
    const std::string frame = wire::encode(wire::random_message(rng, i % wire::kMessageTypes));
    for (std::size_t k = 0; k < kMutations; ++k) run(mutated(rng, frame));
  }
  return kFrames * kMutations;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t count = 0;
  for (int i = 1; i < argc; ++i) count += replay(argv[i]);
  if (argc < 2) count = run_own_corpus(1);
  std::printf("%zu inputs\n", count);
}
#endif
