// SPDX-License-Identifier: MIT
#include "common/base/blake2b.h"

#include <sodium.h>

#include "common/base/check.h"

namespace capstan {

constexpr std::size_t kDigestBytes = 32;

struct Blake2b::State {
  crypto_generichash_state hash;
};

Blake2b::Blake2b() : state_(std::make_unique<State>()) {
  CHECK(sodium_init() >= 0);
  CHECK(crypto_generichash_init(&state_->hash, nullptr, 0, kDigestBytes) == 0);
}

Blake2b::~Blake2b() = default;

void Blake2b::update(std::string_view data) {
  crypto_generichash_update(&state_->hash, reinterpret_cast<const unsigned char*>(data.data()),
                            data.size());
}

Bytes Blake2b::final() {
  Bytes digest(kDigestBytes, '\0');
  crypto_generichash_final(&state_->hash, reinterpret_cast<unsigned char*>(digest.data()),
                           digest.size());
  return digest;
}

}  // namespace capstan
