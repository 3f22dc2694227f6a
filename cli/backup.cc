// SPDX-License-Identifier: MIT
#include "cli/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>
#include <vector>

#include "cli/access_lookup.h"
#include "cli/cluster_asker.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/blake2b.h"
#include "common/base/print_error.h"
#include "common/base/unique_fd.h"

namespace capstan::cli {
namespace {

constexpr Micros kAskAgain = std::chrono::milliseconds(200);

/// Beside this program, else wherever PATH finds it.
std::string master_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = (self.parent_path() / "capstan-master").string();
  return !error && ::access(beside.c_str(), X_OK) == 0 ? beside : "capstan-master";
}

/// Runs it to its end, quietly; its complaints are on our stderr. Its exit code.
Outcome<int> run_master(const std::vector<std::string>& args) {
  std::vector<std::string> words = {master_program()};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int code = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (code != 0)
    return fail_with(kExitFailed, "cannot start capstan-master, which knows what a backup is: " +
                                      errno_text(code) + "; install it on this machine");
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : kExitFailed;
}

/// FILE.part, until it is what it shall be.
class PartFile {
 public:
  explicit PartFile(const std::string& file) : file_(file), part_(file + ".part") {}
  ~PartFile() {
    if (fd_) ::unlink(part_.c_str());
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  Outcome<void> open() {
    ::unlink(part_.c_str());  // What is there may be somebody's who would then own the keys.
    fd_ = UniqueFd(::open(part_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd_) return failure("cannot make " + part_);
    return {};
  }
  Outcome<void> write(const Bytes& data) {
    std::string_view rest = data;
    while (!rest.empty()) {
      const ssize_t n = ::write(fd_.get(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure("cannot write " + part_);
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    digest_.update(data);
    return {};
  }
  Outcome<void> verify(const Bytes& digest) {
    if (digest_.final() != digest)
      return fail_with(kExitFailed, "what arrived is not what was sent: take the backup again");
    if (::fsync(fd_.get()) != 0) return failure("cannot sync " + part_);
    if (TRY(run_master({"--check-backup", part_})) != 0)
      return fail_with(kExitFailed, "the backup could not be opened again: it was not kept");
    return {};
  }
  Outcome<void> keep() {
    if (::rename(part_.c_str(), file_.c_str()) != 0) return failure("cannot make " + file_);
    fd_.reset();
    const std::string above = std::filesystem::path(file_).parent_path().string();
    const UniqueFd dir(::open(above.empty() ? "." : above.c_str(), O_RDONLY | O_CLOEXEC));
    if (!dir || ::fsync(dir.get()) != 0) return failure("cannot sync the directory of " + file_);
    return {};
  }

 private:
  static tl::unexpected<Failure> failure(const std::string& doing) {
    return fail_with(kExitFailed, doing + ": " + errno_text(errno));
  }
  std::string file_;
  std::string part_;
  UniqueFd fd_;
  Blake2b digest_;
};

class BackupVerb final : public Verb {
 public:
  BackupVerb() : Verb("backup", "write a backup of the master's queue", {"FILE", 1, 1}) {
    page_.synopsis = {"capstan backup [OPTIONS] FILE"};
    page_.description =
        "Copies the master's database, as it is at one moment, to FILE while the master goes on, "
        "and opens it again before it counts. Of two masters the standby is asked, when it is in "
        "sync; else, or when it cannot, the primary. It needs an admin's key. Keep FILE secret: it "
        "has "
        "the keys of the cluster. The output of tasks beyond its last 4 KiB (the master's logs/) "
        "is not in it.";
    // clang-format off
    options_.add_options()
        ("force,f", po::bool_switch(&force_),
         "FILE may exist: it is replaced when the new one is complete.")
        ("quiet,q", po::bool_switch(&quiet_),
         "Print nothing.")
        ("json", po::bool_switch(&json_),
         "Print {\"bytes\":12345,\"node\":\"b\"}.");
    // clang-format on
    set_examples("  capstan backup /mnt/other/capstan-$(date +%F).backup\n");
    set_exits(std::string(kPlainExits));
  }

  Outcome<int> run(const Words& words) override {
    const std::string& file = words.positionals.front();
    if (!force_ && ::access(file.c_str(), F_OK) == 0)
      return usage_error(printable(file) + " exists: name another file, or say --force");
    net::EventLoop loop;
    std::optional<Taken> taken = TRY(take_from_standby(loop, file));
    if (!taken) taken = TRY(take_from_primary(loop, file));
    Output out(STDOUT_FILENO);
    if (json_)
      out.write(fmt::format("{{\"bytes\":{},\"node\":\"{}\"}}\n", taken->bytes, taken->node));
    else if (!quiet_)
      out.write(fmt::format("{}: {}, of {}, verified\n", printable(file), size_text(taken->bytes),
                            taken->node));
    TRY(out.flush());
    return kExitOk;
  }

 private:
  struct Taken {
    std::uint64_t bytes = 0;
    std::string node;
  };
  /// Whoever is asked, and how to wait for it.
  struct Source {
    std::function<Outcome<msg::BackupData>(const msg::ReadBackup&)> ask;
    std::function<Outcome<void>(Micros)> pause;
  };

  /// None: there is no standby that has everything, or it could not.
  Outcome<std::optional<Taken>> take_from_standby(net::EventLoop& loop, const std::string& file) {
    net::Access access = TRY(load_access(common()));
    if (access.masters.size() < 2) return std::optional<Taken>();
    auto asker = TRY(ClusterAsker::open(loop, {std::move(access), common().timeout}));
    const auto seen = asker->look();
    if (!seen) return std::optional<Taken>();  // The primary's way says what is wrong.
    const std::string node = standby_in_sync(*seen);
    if (node.empty()) return std::optional<Taken>();
    const Source source{[&](const msg::ReadBackup& read) { return asker->read_backup(node, read); },
                        [&](Micros span) { return asker->pause(span); }};
    const Outcome<std::uint64_t> bytes = receive(source, file);
    if (bytes) return std::optional<Taken>(Taken{*bytes, node});
    print_error("capstan backup: not of the standby {}: {}; asking the primary\n", printable(node),
                bytes.error().message);
    return std::optional<Taken>();
  }

  Outcome<Taken> take_from_primary(net::EventLoop& loop, const std::string& file) {
    const auto client = TRY(connect(loop, *this));
    const std::string node = TRY(client->ask<msg::StatusReply>(msg::GetStatus{})).master;
    const Source source{
        [&](const msg::ReadBackup& read) { return client->ask<msg::BackupData>(read); },
        [&](Micros span) -> Outcome<void> {
          TRY(client->run_until([] { return false; }, client->now() + span));
          return {};
        }};
    return Taken{TRY(receive(source, file)), node};
  }

  static Outcome<std::uint64_t> receive(const Source& source, const std::string& file) {
    PartFile part(file);
    TRY(part.open());
    msg::ReadBackup read;
    read.backup = TRY(source.ask(read)).backup;
    while (true) {
      const auto data = TRY(source.ask(read));
      if (data.total == 0) {  // It is still being copied there.
        TRY(source.pause(kAskAgain));
        continue;
      }
      if (data.offset != read.offset || (data.data.empty() && read.offset < data.total))
        return fail_with(kExitFailed, "the master's copy ended early: take the backup again");
      TRY(part.write(data.data));
      read.offset += data.data.size();
      if (read.offset < data.total) continue;
      TRY(part.verify(data.digest));
      TRY(part.keep());
      return read.offset;
    }
  }

  bool force_ = false;
  bool quiet_ = false;
  bool json_ = false;
};

class RestoreVerb final : public Verb {
 public:
  RestoreVerb() : Verb("restore", "make a master's directory of a backup", {"FILE DIR", 2, 2}) {
    page_.synopsis = {"capstan restore [OPTIONS] FILE DIR"};
    page_.description =
        "Makes DIR, which must be missing or empty, of a backup; no master is asked. It is a new "
        "generation of the cluster: start it with capstan-master --dir DIR when the old master "
        "is stopped for good. Workers that meet it end what they run and begin anew, and what ran "
        "at the time of the backup runs again. Everything that was acknowledged after the backup "
        "is gone.";
    set_examples("  capstan restore capstan.backup /var/lib/capstan-2\n");
    set_exits(
        "  0    done\n"
        "  2    the command line cannot be meant, or FILE cannot be read\n"
        "  3    refused: DIR is not empty, or a master runs there\n"
        "  70   FILE is damaged or no backup, or the machine refused something\n");
  }

  Outcome<int> run(const Words& words) override {
    const std::string& dir = words.positionals.back();
    const int code = TRY(run_master({"--restore", words.positionals.front(), "--dir", dir}));
    if (code != 0) return fail_with(code, "");
    print_error("restored: start it with capstan-master --dir {}\n", printable(dir));
    return kExitOk;
  }
};

}  // namespace

std::unique_ptr<Verb> make_backup_verb() {
  return std::make_unique<BackupVerb>();
}

std::unique_ptr<Verb> make_restore_verb() {
  return std::make_unique<RestoreVerb>();
}

}  // namespace capstan::cli
