// SPDX-License-Identifier: MIT
//
// Bytes and their shapes for people. Arguments, inputs and output are bytes: file names need not
// be UTF-8. They are escaped only in JSON, tables and logs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace capstan {

/// Any bytes, NUL and invalid UTF-8 included. Text that people wrote is std::string as well, but
/// then its name does not say Bytes.
using Bytes = std::string;

/// True for well-formed UTF-8 without NUL.
bool is_utf8(std::string_view bytes);

/// The bytes as printable UTF-8: what is not valid, and control characters, as \xNN; a backslash
/// stays as it is. For tables and messages, not reversible.
std::string printable(std::string_view bytes);

/// Quoted for sh when that is needed: plain words stay as they are.
std::string shell_quoted(std::string_view bytes);

/// Hash of `data` by BLAKE2b-128 (libsodium), chained from `before`. For integrity, not for
/// secrets.
struct Digest {
  unsigned char bytes[16]{};
  bool operator==(const Digest&) const = default;
  [[nodiscard]] std::string hex() const;
};
Digest chained_digest(const Digest& before, std::string_view data);

/// "1.5 GiB", "312 B".
std::string size_text(std::uint64_t bytes);

}  // namespace capstan
