// SPDX-License-Identifier: MIT
#include "tests/integration/cluster.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace capstan::itest {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  REQUIRE_MESSAGE(value != nullptr, std::string(name) << " is not set: run this by ctest");
  return value;
}

std::string joined(const Args& args) {
  std::string text;
  for (const std::string& arg : args) text += " " + arg;
  return text;
}

}  // namespace

std::string program(const std::string& name) {
  return environment("CAPSTAN_BIN") + "/" + name;
}

std::string source_root() {
  return environment("CAPSTAN_SOURCE");
}

std::string numbers(int last) {
  std::string text;
  for (int i = 1; i <= last; ++i) text += std::to_string(i) + "\n";
  return text;
}

std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> objects;
  for (const std::string& line : lines_of(text)) objects.push_back(Json::parse(line));
  return objects;
}

// --- Cli -----------------------------------------------------------------------------------------

Child::Options Cli::options(const Args& args, const std::string& input) const {
  Child::Options options;
  options.argv = {program("capstan")};
  options.argv.insert(options.argv.end(), args.begin(), args.end());
  options.env = {"CAPSTAN_ACCESS=" + access_};
  options.cwd = cwd_;
  options.input = input;
  return options;
}

Finished Cli::run(const Args& args, const std::string& input) const {
  return itest::run(options(args, input));
}

std::string Cli::ok(const Args& args, const std::string& input) const {
  const Finished done = run(args, input);
  REQUIRE_MESSAGE(done.code == 0, "capstan" << joined(args) << "\nexit " << done.code << "\n"
                                            << done.out << done.err);
  return done.out;
}

std::unique_ptr<Child> Cli::start(const Args& args, const std::string& input) const {
  return std::make_unique<Child>(options(args, input));
}

std::string Cli::submit(const Args& options, const Args& command, const std::string& input) const {
  Args args = {"submit", "--quiet"};
  args.insert(args.end(), options.begin(), options.end());
  args.emplace_back("--");
  args.insert(args.end(), command.begin(), command.end());
  const std::vector<std::string> lines = lines_of(ok(args, input));
  REQUIRE(lines.size() == 1);
  return lines[0];
}

int Cli::wait(const std::string& job) const {
  return run({"wait", job}).code;
}

Json Cli::job(const std::string& job) const {
  return Json::parse(ok({"job", job, "--json"}));
}

std::vector<Json> Cli::tasks(const std::string& job, const Args& options) const {
  Args args = {"tasks", job, "--json"};
  args.insert(args.end(), options.begin(), options.end());
  return json_lines(ok(args));
}

std::vector<Json> Cli::jobs() const {
  return json_lines(ok({"jobs", "--json"}));
}

std::map<std::string, Json> Cli::workers() const {
  std::map<std::string, Json> workers;
  for (Json& worker : json_lines(ok({"workers", "--json"}))) {
    const std::string name = worker.at("name");
    workers[name] = std::move(worker);
  }
  return workers;
}

Json Cli::status() const {
  return Json::parse(ok({"status", "--json"}));
}

std::size_t Cli::workers_in(const std::string& state) const {
  std::size_t count = 0;
  for (const auto& [name, worker] : workers()) count += worker.at("state") == state ? 1 : 0;
  return count;
}

// --- Database ------------------------------------------------------------------------------------

Database::Database(const std::string& path) {
  const int opened = sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READONLY, nullptr);
  REQUIRE_MESSAGE(opened == SQLITE_OK, "cannot open " << path);
  sqlite3_busy_timeout(handle_, 10'000);
}

Database::~Database() {
  sqlite3_close(handle_);
}

std::vector<std::string> Database::column(const std::string& sql) const {
  sqlite3_stmt* statement = nullptr;
  REQUIRE_MESSAGE(sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK,
                  sql << ": " << sqlite3_errmsg(handle_));
  std::vector<std::string> values;
  while (sqlite3_step(statement) == SQLITE_ROW) {
    const unsigned char* text = sqlite3_column_text(statement, 0);
    values.emplace_back(text == nullptr ? "" : reinterpret_cast<const char*>(text));
  }
  sqlite3_finalize(statement);
  return values;
}

std::int64_t Database::number(const std::string& sql) const {
  const std::vector<std::string> values = column(sql);
  REQUIRE_MESSAGE(values.size() == 1, sql);
  return std::stoll(values[0]);
}

// --- SmallDisk -----------------------------------------------------------------------------------

SmallDisk::SmallDisk(std::string path, std::uint64_t bytes) : path_(std::move(path)) {
  REQUIRE(::mkdir(path_.c_str(), 0700) == 0);
  const std::string size = "mode=0700,size=" + std::to_string(bytes);
  REQUIRE(::mount("tmpfs", path_.c_str(), "tmpfs", 0, size.c_str()) == 0);
}

SmallDisk::~SmallDisk() {
  ::umount2(path_.c_str(), MNT_DETACH);
}

std::string SmallDisk::why_not() {
  const TempDir dir;
  if (::mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=65536") != 0) {
    return std::string("skipped: no file system can be mounted here: ") + std::strerror(errno) +
           " (run it as root)";
  }
  ::umount2(dir.path().c_str(), MNT_DETACH);
  return "";
}

void SmallDisk::fill() {
  const UniqueFd fd(::open((path_ + "/filler." + std::to_string(++fillers_)).c_str(),
                           O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(fd);
  const std::string block(1 << 20, 'f');
  std::size_t size = block.size();
  while (size > 0) {
    if (::write(fd.get(), block.data(), size) < 0) size /= 2;
  }
}

void SmallDisk::empty() {
  for (; fillers_ > 0; --fillers_)
    ::unlink((path_ + "/filler." + std::to_string(fillers_)).c_str());
}

// --- Cluster -------------------------------------------------------------------------------------

Cluster::Cluster(Options options)
    : options_(std::move(options)),
      port_(free_port()),
      http_port_(free_port()),
      cli_(admin_access(), dir_.path()) {
  if (options_.master_disk_bytes > 0)
    disks_["master"] = std::make_unique<SmallDisk>(master_dir(), options_.master_disk_bytes);
  start_master();
  for (int i = 1; i <= options_.workers; ++i) start_worker("w" + std::to_string(i));
  wait_workers_up(static_cast<std::size_t>(options_.workers));
}

Args Cluster::master_command() const {
  Args command = {program("capstan-master"),
                  "--dir",
                  master_dir(),
                  "--listen",
                  "127.0.0.1:" + std::to_string(port_),
                  "--http",
                  "127.0.0.1:" + std::to_string(http_port_)};
  command.insert(command.end(), options_.master_flags.begin(), options_.master_flags.end());
  return command;
}

void Cluster::start_master() {
  Child::Options options;
  options.argv = master_command();
  options.env = options_.master_env;
  options.cwd = dir_.path();
  master_ = std::make_unique<Child>(std::move(options));
  REQUIRE_MESSAGE(eventually([this] { return exists(admin_access()) || !master_->is_running(); }),
                  master_->err());
  INFO("the master said: ", master_->err());
  (void)cli_.status();  // The command line waits until it is answered.
}

void Cluster::kill_master() {
  master_->signal(SIGKILL);
  (void)master_->wait();
}

Args Cluster::worker_command(const std::string& name) const {
  Args command = {program("capstan-worker"),
                  "--access",
                  worker_access(),
                  "--dir",
                  worker_dir(name),
                  "--name",
                  name,
                  "--cpus",
                  std::to_string(options_.cpus)};
  command.insert(command.end(), options_.worker_flags.begin(), options_.worker_flags.end());
  return command;
}

Child& Cluster::start_worker(const std::string& name) {
  if (options_.worker_disk_bytes > 0 && !disks_.contains(name))
    disks_[name] = std::make_unique<SmallDisk>(worker_dir(name), options_.worker_disk_bytes);
  Child::Options options;
  options.argv = worker_command(name);
  options.env = options_.worker_env;
  options.cwd = dir_.path();
  workers_[name] = std::make_unique<Child>(std::move(options));
  return *workers_[name];
}

pid_t Cluster::agent_of(const std::string& name) {
  const pid_t shepherd = worker(name).pid();
  for (const pid_t child : children_of(shepherd)) {
    // By its command line: a task that is just being started looks like its shepherd otherwise.
    if (contains(command_line_of(child), std::string_view("\0--agent\0", 9))) return child;
  }
  return 0;
}

void Cluster::wait_workers_up(std::size_t count) const {
  REQUIRE_MESSAGE(eventually([&] { return cli_.workers_in("up") >= count; }), cli_.ok({"workers"}));
}

// --- DevCluster ----------------------------------------------------------------------------------

DevCluster::DevCluster(int workers, int cpus, const Args& more, Args env) : cli_("", dir_.path()) {
  Args args = {"dev",   "--workers", std::to_string(workers), "--cpus", std::to_string(cpus),
               "--dir", dir_ / "dev"};
  args.insert(args.end(), more.begin(), more.end());
  Child::Options options = cli_.options(args);
  options.env.insert(options.env.end(), env.begin(), env.end());
  child_ = std::make_unique<Child>(std::move(options));
  const std::string printed = child_->wait_for("export CAPSTAN_ACCESS=");
  for (const std::string& line : lines_of(printed)) {
    const std::size_t at = line.find("export CAPSTAN_ACCESS=");
    if (at == std::string::npos) continue;
    std::string path = line.substr(line.find('=') + 1);
    if (path.size() >= 2 && (path[0] == '\'' || path[0] == '"')) {
      path = path.substr(1, path.size() - 2);
    }
    cli_.set_access(path);
  }
  REQUIRE(eventually([&] { return cli_.workers_in("up") == static_cast<std::size_t>(workers); }));
}

Json DevCluster::view() const {
  const Finished seen = cli_.run({"cluster", "--json"});
  return seen.code == 0 ? Json::parse(seen.out, nullptr, false) : Json();
}

std::string DevCluster::primary() const {
  const Json seen = view();
  return seen.is_object() && seen["primary"].is_string() ? std::string(seen["primary"]) : "";
}

void DevCluster::wait_in_sync() const {
  REQUIRE(eventually([&] {
    const Json seen = view();
    return seen.is_object() && seen.value("in_sync", false);
  }));
}

Args DevCluster::with_dev(const Args& args) {
  Args all = {"dev"};
  all.insert(all.end(), args.begin(), args.end());
  return all;
}

// --- Rendezvous ----------------------------------------------------------------------------------

Rendezvous::Rendezvous(const TempDir& dir) : starts_(dir / "starts") {
  for (int attempt = 1; attempt <= 4; ++attempt) {
    gates_.push_back(std::make_unique<Fifo>(dir / ("gate." + std::to_string(attempt))));
  }
}

Args Rendezvous::command(const std::string& then) const {
  const std::string folder = starts_.path().substr(0, starts_.path().rfind('/'));
  return {"sh", "-c",
          "echo \"$CAPSTAN_WORKER $CAPSTAN_ATTEMPT $$ $CAPSTAN_TASK_INDEX\" > " + starts_.path() +
              "; read go < " + folder + "/gate.$CAPSTAN_ATTEMPT; " + then};
}

Rendezvous::Arrival Rendezvous::arrival(Seconds limit) {
  std::istringstream line(starts_.line(limit));
  Arrival arrival;
  line >> arrival.worker >> arrival.attempt >> arrival.pid >> arrival.task;
  return arrival;
}

void Rendezvous::let_go(int attempt) {
  gates_.at(static_cast<std::size_t>(attempt) - 1)->write_line();
}

}  // namespace capstan::itest
