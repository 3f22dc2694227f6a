// SPDX-License-Identifier: MIT
//
// Access files, and files that must be whole after a power cut. Key pairs themselves are made in
// zmq_context.cc, beside the library that uses them.
#include "common/net/keys.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>

#include "common/base/unique_fd.h"
#include "common/net/addresses.h"

namespace capstan::net {
namespace {

/// An access file has a dozen lines; what is larger is another file.
constexpr std::size_t kAccessBytes = 1024 * 1024;

tl::unexpected<Error> io_error(const std::string& doing, const std::string& path) {
  return fail(errno == ENOSPC ? Errc::DiskFull : Errc::Io,
              "while " + doing + " " + path + ": " + errno_text(errno));
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Cuts the first word (up to `separator`) off `rest`.
std::string_view next_word(std::string_view& rest, char separator) {
  rest = trimmed(rest);
  const auto end = rest.find(separator);
  const std::string_view word = trimmed(rest.substr(0, end));
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return word;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Result<std::string> parse_key(std::string_view text) {
  std::string key(text);
  if (!is_z85_key(key)) return fail(Errc::Corrupt, "the key is not 40 characters of Z85");
  return key;
}

Result<std::uint64_t> parse_version(std::string_view text) {
  std::uint64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return fail(Errc::Corrupt, "the version is not a number");
  }
  return version;
}

/// The file's lines as they are read; what is missing at the end is found by its absence.
class AccessReader {
 public:
  Result<void> take(std::string_view name, std::string_view value) {
    if (name == "cluster") {
      cluster_ = TRY(parse_uuid(value));
    } else if (name == "role") {
      role_ = TRY(parse_role(value));
    } else if (name == "name") {
      name_ = std::string(value);
    } else if (name == "public_key") {
      public_key_ = TRY(parse_key(value));
    } else if (name == "secret_key") {
      secret_key_ = TRY(parse_key(value));
    } else if (name == "master") {
      masters_.push_back(TRY(parse_member(value)));
    } else if (name == "members_version") {
      version_ = TRY(parse_version(value));
    }  // Other names: a newer version wrote them, and means that we can do without.
    return {};
  }

  Result<Access> finish() {
    if (!cluster_) return missing("cluster");
    if (!role_) return missing("role");
    if (!name_) return missing("name");
    if (!public_key_) return missing("public_key");
    if (!secret_key_) return missing("secret_key");
    if (masters_.empty()) return missing("master");
    return Access{*cluster_,           *role_,  *name_, {*public_key_, *secret_key_},
                  std::move(masters_), version_};
  }

 private:
  static tl::unexpected<Error> missing(const std::string& name) {
    return fail(Errc::Corrupt, "no line \"" + name + " = ...\"");
  }

  std::optional<Uuid> cluster_;
  std::optional<Role> role_;
  std::optional<std::string> name_;
  std::optional<std::string> public_key_;
  std::optional<std::string> secret_key_;
  std::vector<Member> masters_;
  std::uint64_t version_ = 0;
};

struct FileText {
  std::string content;
  mode_t mode = 0;
};

Result<FileText> read_small_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    const Errc code = errno == ENOENT ? Errc::NotFound : Errc::Io;
    return fail(code, "while reading " + path + ": " + errno_text(errno));
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return io_error("reading", path);
  if (!S_ISREG(status.st_mode)) return fail(Errc::Invalid, path + " is not a file");
  FileText text{{}, status.st_mode};
  std::array<char, 16 * 1024> buffer;  // NOLINT: read fills it.
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("reading", path);
    if (got == 0) return text;
    text.content.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.content.size() > kAccessBytes) {
      return fail(Errc::Corrupt, path + " is too large for an access file");
    }
  }
}

Result<NamedLine> parse_line(std::string_view line, std::string where) {
  const auto equals = line.find('=');
  if (equals == std::string_view::npos) {
    return fail(Errc::Corrupt, where + ": not \"name = value\"");
  }
  return NamedLine{std::string(trimmed(line.substr(0, equals))),
                   std::string(trimmed(line.substr(equals + 1))), std::move(where)};
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("writing", path);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_synced(const std::string& path, const std::string& content, unsigned mode) {
  // 0600 first and the asked-for mode after: never wider than asked, whatever the umask is.
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return io_error("writing", path);
  if (::fchmod(file.get(), static_cast<mode_t>(mode)) != 0) return io_error("writing", path);
  TRY(write_all(file.get(), content, path));
  if (::fsync(file.get()) != 0) return io_error("syncing", path);
  return {};
}

}  // namespace

Result<Uuid> parse_uuid(std::string_view text) {
  Uuid id;
  bool valid = text.size() == 2 * id.bytes.size();
  for (std::size_t i = 0; valid && i < id.bytes.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    valid = high >= 0 && low >= 0;
    id.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  if (!valid) return fail(Errc::Corrupt, "the cluster is not 32 hexadecimal digits");
  return id;
}

Result<Member> parse_member(std::string_view text) {
  Member member;
  std::string_view rest = text;
  member.name = next_word(rest, ' ');
  member.public_key = TRY(parse_key(next_word(rest, ' ')));
  while (!trimmed(rest).empty()) {
    const HostPort address = TRY(parse_address(next_word(rest, ',')));
    member.addresses.push_back(to_string(address));
  }
  if (member.name.empty() || member.addresses.empty()) {
    return fail(Errc::Corrupt, "a master needs NAME KEY ADDRESS[,ADDRESS...]");
  }
  return member;
}

std::string member_text(const Member& member) {
  std::string text = member.name + " " + member.public_key + " ";
  for (std::size_t i = 0; i < member.addresses.size(); ++i) {
    text += (i == 0 ? "" : ",") + member.addresses[i];
  }
  return text;
}

Result<NamedLines> read_named_lines(const std::string& path) {
  const FileText text = TRY(read_small_file(path));
  NamedLines all{{}, (text.mode & 077) != 0};
  std::string_view rest = text.content;
  for (int number = 1; !rest.empty(); ++number) {
    const auto end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    all.lines.push_back(TRY(parse_line(line, path + ":" + std::to_string(number))));
  }
  return all;
}

Result<Access> read_access(const std::string& path) {
  const NamedLines text = TRY(read_named_lines(path));
  AccessReader reader;
  for (const NamedLine& line : text.lines) {
    const auto taken = reader.take(line.name, line.value);
    if (!taken) return fail(Error{Errc::Corrupt, taken.error().message}, line.where);
  }
  auto access = reader.finish();
  if (!access) return fail(access.error(), path);
  if (text.others_may_read && access->role != Role::Enrolment) {
    return fail(Errc::NotAllowed,
                path + " holds a secret key and others may read it: chmod 600 " + path);
  }
  return access;
}

std::string access_text(const Access& access) {
  std::string text = "# Access to a Capstan cluster. It holds a secret key: keep it private.\n";
  text += "cluster = " + access.cluster.hex() + "\n";
  text += "role = " + std::string(to_string(access.role)) + "\n";
  text += "name = " + access.name + "\n";
  text += "public_key = " + access.keys.public_key + "\n";
  text += "secret_key = " + access.keys.secret_key + "\n";
  if (access.members_version != 0) {
    text += "members_version = " + std::to_string(access.members_version) + "\n";
  }
  for (const Member& member : access.masters) text += "master = " + member_text(member) + "\n";
  return text;
}

Result<void> write_access(const std::string& path, const Access& access) {
  return write_file_durably(path, access_text(access), 0600);
}

Result<void> write_file_durably(const std::string& path, const std::string& content,
                                unsigned mode) {
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string temporary = path + ".new-" + Uuid::random().hex().substr(0, 12);
  if (auto written = write_synced(temporary, content, mode); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    auto error = io_error("replacing", path);
    ::unlink(temporary.c_str());
    return error;
  }
  const UniqueFd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) return io_error("syncing", folder);
  return {};
}

}  // namespace capstan::net
