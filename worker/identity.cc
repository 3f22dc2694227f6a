// SPDX-License-Identifier: MIT
#include "worker/identity.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "common/base/bytes.h"
#include "common/base/dirs.h"
#include "common/base/ids.h"

namespace capstan {

namespace {

constexpr const char* kAccessFile = "/worker.access";
constexpr const char* kPendingFile = "/worker.pending";
constexpr const char* kIdFile = "/id";

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

Result<net::Access> as_invitation(const std::string& path, net::Access access) {
  if (access.role == Role::Enrolment) return access;
  return fail(Errc::NotAllowed,
              printable(path) + " is for the role '" + std::string(to_string(access.role)) +
                  "': a worker is invited by the worker.access file in its master's directory");
}

}  // namespace

Result<std::optional<net::Access>> own_access(const std::string& dir) {
  const std::string path = dir + kAccessFile;
  if (!exists(path)) return std::optional<net::Access>();
  net::Access access = TRY(net::read_access(path));
  if (access.role != Role::Worker) {
    return fail(Errc::NotAllowed, path + " is not a worker's: is " + dir +
                                      " the directory of another program? (give --dir)");
  }
  return std::optional<net::Access>(std::move(access));
}

Result<net::Access> find_invitation(const std::string& file) {
  if (!file.empty()) {
    Result<net::Access> access = net::read_access(file);
    if (!access) return fail(Errc::Invalid, "--access: " + access.error().message);
    return as_invitation(file, std::move(*access));
  }
  const std::string local = TRY(default_state_dir("master")) + kAccessFile;
  if (!exists(local)) {
    return fail(Errc::NotAllowed,
                "this worker has no key yet and knows no master (looked for " + local +
                    "): give --access FILE with the worker.access file of your master");
  }
  return as_invitation(local, TRY(net::read_access(local)));
}

Result<net::KeyPair> pending_keys(const std::string& dir, const net::Access& invitation) {
  const std::string path = dir + kPendingFile;
  if (exists(path)) return TRY(net::read_access(path)).keys;
  net::Access pending = invitation;
  pending.role = Role::Worker;
  pending.name = "pending";
  pending.keys = net::make_key_pair();
  TRY(net::write_access(path, pending));
  return pending.keys;
}

Result<net::Access> finish_enrolment(const std::string& dir, const net::Access& invitation,
                                     const net::KeyPair& keys, const std::string& name) {
  net::Access access{.cluster = invitation.cluster,
                     .role = Role::Worker,
                     .name = name,
                     .keys = keys,
                     .masters = invitation.masters,
                     .members_version = invitation.members_version};
  TRY(net::write_access(dir + kAccessFile, access));
  ::unlink((dir + kPendingFile).c_str());
  return access;
}

Result<void> update_access(const std::string& dir, net::Access& access, const std::string& name,
                           const ToldMasters& masters) {
  net::Access changed = access;
  if (!name.empty()) changed.name = name;
  if (!masters.members.empty()) {
    changed.masters = masters.members;
    changed.members_version = masters.version;
  }
  const bool is_as_before = changed.name == access.name && changed.masters == access.masters &&
                            changed.members_version == access.members_version;
  if (is_as_before) return {};
  TRY(net::write_access(dir + kAccessFile, changed));
  access = std::move(changed);
  return {};
}

Result<std::string> directory_id(const std::string& dir) {
  const std::string path = dir + kIdFile;
  std::string id;
  if (std::ifstream file(path); file && std::getline(file, id)) {
    const bool is_hex = id.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (is_hex && id.size() == Uuid().hex().size()) return id;
  }
  id = Uuid::random().hex();
  TRY(net::write_file_durably(path, id + "\n", 0600));
  return id;
}

}  // namespace capstan
