// SPDX-License-Identifier: MIT
//
// CURVE key pairs, and the files that hold them. Files are written whole (temporary, fsync, rename,
// fsync of the directory), mode 0600.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/member.h"

namespace capstan::net {

/// Z85, 40 characters each.
struct KeyPair {
  std::string public_key;
  std::string secret_key;
};
KeyPair make_key_pair();
/// 40 characters of Z85.
bool is_z85_key(const std::string& key);

/// What its holder needs to reach a cluster: text, `name = value` a line, `#` comments.
///   cluster, role, name, public_key, secret_key, and one `master = NAME KEY ADDR[,ADDR…]` for
///   each; members_version tells which of two lists of masters is the newer one.
struct Access {
  Uuid cluster;
  Role role = Role::Admin;
  std::string name;
  KeyPair keys;
  std::vector<Member> masters;
  std::uint64_t members_version = 0;  ///< 0: the file does not say.
};
/// Errors name the file and the line. A file that others may read is refused with the way out
/// (chmod 600), unless its role is Enrolment (then it is a warning of the caller's choice).
Result<Access> read_access(const std::string& path);
/// The text of such a file.
std::string access_text(const Access& access);
Result<void> write_access(const std::string& path, const Access& access);

/// One line of a text file of ours, and where it stands.
struct NamedLine {
  std::string name;
  std::string value;
  std::string where;  ///< FILE:LINE
};
struct NamedLines {
  std::vector<NamedLine> lines;
  bool others_may_read = false;
};
/// The lines `name = value` of a small text file; empty ones and those that begin with # are left
/// out. Errors: NotFound; Corrupt, with FILE:LINE.
Result<NamedLines> read_named_lines(const std::string& path);
/// "NAME KEY ADDR[,ADDR…]" and back.
Result<Member> parse_member(std::string_view text);
std::string member_text(const Member& member);
/// 32 lower-case hex digits.
Result<Uuid> parse_uuid(std::string_view text);

/// Atomic replacement of a file by `content`, durable when it returns.
Result<void> write_file_durably(const std::string& path, const std::string& content, unsigned mode);

}  // namespace capstan::net
