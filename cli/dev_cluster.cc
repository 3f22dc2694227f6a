// SPDX-License-Identifier: MIT
#include "cli/dev_cluster.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "cli/dev_control.h"
#include "common/base/print_error.h"
#include "common/model/parse.h"
#include "common/net/keys.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

/// While it starts: a list of workers is asked for again after so long, should a line be missed.
constexpr Micros kLookAtProcesses = 200ms;
/// A worker that was told to stop has so long to say goodbye; what runs is ended anyway.
constexpr Micros kWorkerGrace = 3s;
constexpr Micros kMasterGrace = 5s;
/// A killed process is gone within this, unless the kernel holds it.
constexpr Micros kKilledGrace = 2s;

std::string own_directory() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : self.parent_path().string();
}

/// Of this machine, free a moment ago. Fewer: the system refused.
std::vector<std::uint16_t> free_ports(std::size_t count) {
  std::vector<UniqueFd> held;  // All at once, so that none comes twice.
  std::vector<std::uint16_t> ports;
  while (ports.size() < count) {
    held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    if (!held.back() || ::bind(held.back().get(), address, size) != 0 ||
        ::getsockname(held.back().get(), address, &size) != 0) {
      break;
    }
    ports.push_back(ntohs(at.sin_port));
  }
  return ports;
}

/// Beside this program, else wherever PATH finds it.
std::string program(const std::string& bin_dir, const std::string& name) {
  const std::string beside = bin_dir + "/" + name;
  return ::access(beside.c_str(), X_OK) == 0 ? beside : name;
}

}  // namespace

DevCluster::DevCluster(net::EventLoop& loop, Interrupts& interrupts, Options options)
    : loop_(loop),
      interrupts_(interrupts),
      options_(std::move(options)),
      bin_dir_(own_directory()) {
  // What a worker's death leaves behind becomes our child: nothing outlives us.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  interrupts_.on_child([this] { reap(); });
}

DevCluster::~DevCluster() {
  end();
  interrupts_.on_child({});
}

// --- Starting ------------------------------------------------------------------------------------

Outcome<void> DevCluster::start() {
  TRY(prepare_dir());
  control_ = TRY(DevControl::open(
      loop_, dir_, [this](DevControl::Request request) { obey(std::move(request)); }));
  TRY(start_masters());
  TRY(start_workers());
  client_.reset();
  return {};
}

Outcome<void> DevCluster::prepare_dir() {
  std::error_code error;
  if (options_.dir.empty()) {
    const char* base = std::getenv("TMPDIR");
    std::string name =
        std::string(base == nullptr || *base == '\0' ? "/tmp" : base) + "/capstan-dev-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      return fail_with(kExitFailed, "cannot make " + name + ": " + errno_text(errno));
    }
    dir_ = name;
    is_temporary_ = true;
    return {};
  }
  dir_ = std::filesystem::absolute(options_.dir, error).lexically_normal().string();
  while (dir_.size() > 1 && dir_.ends_with('/')) dir_.pop_back();
  std::filesystem::create_directories(dir_, error);
  if (!error) return {};
  return usage_error("--dir " + printable(options_.dir) + ": " + error.message());
}

std::vector<std::string> DevCluster::master_argv() const {
  std::vector<std::string> argv{program(bin_dir_, "capstan-master"),
                                "--dir",
                                dir_ + "/master",
                                "--listen",
                                master_address_,
                                "--http",
                                "127.0.0.1:0"};
  argv.insert(argv.end(), options_.master_args.begin(), options_.master_args.end());
  return argv;
}

DevNode& DevCluster::add_node(const std::string& name, std::vector<std::string> argv) {
  DevNode::Options options{name, std::move(argv), dir_ + "/" + name + ".log"};
  nodes_.push_back(std::make_unique<DevNode>(loop_, std::move(options),
                                             [this](const std::string&) { on_line(); }));
  return *nodes_.back();
}

void DevCluster::on_line() {
  has_line_ = true;
  for (const auto& node : nodes_) {
    if (node->is_ready()) control_->node_is_ready(*node);
  }
}

// A directory that was used before: its workers know the master by the address it had then.
void DevCluster::keep_address() {
  const auto access = net::read_access(access_file());
  if (!access || access->masters.empty() || access->masters.front().addresses.empty()) return;
  master_address_ = access->masters.front().addresses.front();
}

/// What is in the directory already holds.
Outcome<void> DevCluster::choose_masters() {
  std::error_code ignored;
  const bool has_one = std::filesystem::exists(dir_ + "/master/master.key", ignored);
  const bool has_two = std::filesystem::exists(dir_ + "/master/a/cluster", ignored);
  if (options_.masters == 0) options_.masters = has_two ? 2 : 1;
  if (options_.masters == 2 ? !has_one : !has_two) return {};
  return usage_error("--dir " + printable(options_.dir) + " has a cluster with " +
                     (has_one ? "one master" : "two masters") + ": give another one");
}

Outcome<void> DevCluster::start_masters() {
  TRY(choose_masters());
  TRY(options_.masters == 2 ? start_pair() : start_master());
  Client::Options options;
  options.access = TRY(as_usage(net::read_access(access_file())));
  options.timeout = options_.timeout;
  options.verb = "dev";
  options.interrupts = &interrupts_;
  client_ = TRY(Client::open(loop_, std::move(options)));
  return {};
}

Outcome<void> DevCluster::start_master() {
  keep_address();
  DevNode& master = add_node("master", master_argv());
  servers_ = nodes_.size();
  TRY(master.start());
  TRY(turn_until([&] { return master.is_ready(); }, "the master"));
  keep_address();
  master.set_argv(master_argv());
  return {};
}

/// As anybody makes one.
Outcome<void> DevCluster::make_pair() {
  const std::vector<std::uint16_t> ports = free_ports(3);
  if (ports.size() != 3) return fail_with(kExitFailed, "no free ports: " + errno_text(errno));
  const auto at = [&](std::size_t i) { return "127.0.0.1:" + std::to_string(ports[i]); };
  const std::string log = dir_ + "/init.log";
  const UniqueFd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  Spawn how;
  how.argv = {program(bin_dir_, "capstan-master"),
              "init",
              "--masters",
              "a=" + at(0) + ",b=" + at(1),
              "--witness",
              "w=" + at(2),
              dir_ + "/master"};
  how.environment = environment_with({});
  how.stderr_fd = out.get();
  how.own_group = how.dies_with_us = true;
  const pid_t pid = TRY(spawn(how));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail_with(kExitFailed,
                   "capstan-master init: " + wait_status_text(status) + "; see " + log);
}

Outcome<void> DevCluster::start_pair() {
  std::error_code ignored;
  if (!std::filesystem::exists(dir_ + "/master/a/cluster", ignored)) TRY(make_pair());
  for (const char* name : {"a", "b", "w"}) {
    std::vector<std::string> argv{program(bin_dir_, "capstan-master"), "--dir",
                                  dir_ + "/master/" + name, "--http", "127.0.0.1:0"};
    argv.insert(argv.end(), options_.master_args.begin(), options_.master_args.end());
    TRY(add_node(name, std::move(argv)).start());
  }
  servers_ = nodes_.size();
  const auto all_ready = [this] {
    return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& n) { return n->is_ready(); });
  };
  return turn_until(all_ready, "one of the masters or their witness");
}

bool DevCluster::is_worker(const DevNode& node) const {
  return std::none_of(nodes_.begin(), nodes_.begin() + static_cast<std::ptrdiff_t>(servers_),
                      [&](const auto& server) { return server.get() == &node; });
}

Outcome<void> DevCluster::start_workers() {
  for (std::uint32_t i = 1; i <= options_.workers; ++i) {
    const std::string name = "w" + std::to_string(i);
    std::vector<std::string> argv{program(bin_dir_, "capstan-worker"),
                                  "--access",
                                  dir_ + "/master/worker.access",
                                  "--dir",
                                  dir_ + "/" + name,
                                  "--name",
                                  name,
                                  "--cpus",
                                  std::to_string(options_.cpus)};
    argv.insert(argv.end(), options_.worker_args.begin(), options_.worker_args.end());
    TRY(add_node(name, std::move(argv)).start());
  }
  const TimePoint deadline = clock_.now() + options_.timeout;
  while (!TRY(are_workers_up())) {
    has_line_ = false;
    const TimePoint look = std::min(deadline, clock_.now() + kLookAtProcesses);
    TRY(client_->run_until([this] { return has_line_ || has_dead_node(); }, look));
    TRY(check_alive());
    if (clock_.now() >= deadline) {
      return fail_with(kExitUnavailable, "the workers are not up after " +
                                             duration_text(options_.timeout) + "; their logs are " +
                                             dir_ + "/w*.log");
    }
  }
  return {};
}

Outcome<bool> DevCluster::are_workers_up() {
  const auto workers = TRY(list_workers(*client_));
  return std::all_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
    return !is_worker(*node) ||
           std::any_of(workers.begin(), workers.end(), [&](const auto& worker) {
             return worker.name == node->name() && worker.state == msg::WorkerState::Up;
           });
  });
}

bool DevCluster::has_dead_node() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const auto& node) { return !node->is_alive(); });
}

Outcome<void> DevCluster::check_alive() const {
  for (const auto& node : nodes_) {
    if (node->is_alive()) continue;
    return fail_with(kExitFailed, node->name() + " ended while it was started: " +
                                      (node->last_line().empty() ? "it said nothing"
                                                                 : printable(node->last_line())));
  }
  return {};
}

Outcome<void> DevCluster::turn_until(const std::function<bool()>& done, const std::string& what) {
  const TimePoint deadline = clock_.now() + options_.timeout;
  while (!done()) {
    TRY(check_alive());
    if (interrupts_.count() > 0) return fail_with(interrupts_.exit_code(), "");
    if (clock_.now() >= deadline) {
      return fail_with(kExitUnavailable,
                       what + " is not ready after " + duration_text(options_.timeout));
    }
    loop_.poll(deadline);
  }
  return {};
}

// --- Running -------------------------------------------------------------------------------------

Outcome<int> DevCluster::run_command(const std::vector<Bytes>& argv) {
  const char* path = std::getenv("PATH");
  Spawn how;
  how.argv = argv;
  how.environment = environment_with(
      {"CAPSTAN_ACCESS=" + access_file(),
       "PATH=" + bin_dir_ + ":" + (path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path)});
  // execvpe looks into our own PATH, so the bin directory is put there too.
  ::setenv("PATH", (how.environment[1].substr(5)).c_str(), 1);
  command_ = TRY(spawn(how));
  int told = 0;
  while (command_ != 0) {
    if (interrupts_.count() > told) {
      // The first one of a terminal reached the command as well; a second one ends all.
      told = interrupts_.count();
      const bool from_terminal = ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
      if (told > 1) {
        ::kill(command_, SIGKILL);
      } else if (interrupts_.exit_code() != kExitInterrupted || !from_terminal) {
        ::kill(command_, interrupts_.exit_code() - 128);
      }
    }
    loop_.poll(TimePoint::never());
  }
  return WIFEXITED(command_status_) ? WEXITSTATUS(command_status_)
                                    : 128 + WTERMSIG(command_status_);
}

Outcome<int> DevCluster::run_until_interrupted() {
  while (interrupts_.count() == 0) loop_.poll(TimePoint::never());
  return interrupts_.exit_code();
}

void DevCluster::reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == command_) {
      command_ = 0;
      command_status_ = status;
      continue;
    }
    const auto node = std::find_if(nodes_.begin(), nodes_.end(),
                                   [&](const auto& one) { return one->pid() == pid; });
    if (node == nodes_.end()) continue;  // A stray of a worker that died.
    (*node)->on_exit();
    if (is_ending_) continue;
    has_line_ = true;
    control_->node_has_ended(**node);
    print_error("capstan dev: {} ended: {}\n", (*node)->name(), wait_status_text(status));
  }
}

// --- Control -------------------------------------------------------------------------------------

DevNode* DevCluster::find(const std::string& name) const {
  for (const auto& node : nodes_) {
    if (node->name() == name) return node.get();
  }
  return nullptr;
}

std::string DevCluster::rows() const {
  std::string text;
  for (const auto& node : nodes_) {
    text += fmt::format("{} {} {}\n", node->name(), node->pid(), process_state(node->pid()));
    if (!is_worker(*node)) continue;
    const pid_t agent = agent_of(node->pid());
    text += fmt::format("{}.agent {} {}\n", node->name(), agent, process_state(agent));
  }
  return text;
}

void DevCluster::obey(DevControl::Request request) {
  if (request.action == "ps") return control_->answer(request, "ok\n" + rows());
  const bool is_agent = request.node.ends_with(".agent");
  DevNode* node = find(is_agent ? request.node.substr(0, request.node.size() - 6) : request.node);
  if (node == nullptr || (is_agent && !is_worker(*node))) {
    return control_->answer(
        request, "error there is no node '" + printable(request.node) + "'; see: capstan dev ps\n");
  }
  if (is_agent && request.action != "kill") {
    return control_->answer(request,
                            "error an agent can only be killed: its worker starts it "
                            "again, and stops and goes on with it\n");
  }
  if (request.action == "start") return obey_start(request, *node);
  const pid_t pid = is_agent ? agent_of(node->pid()) : node->pid();
  if (pid == 0) return control_->answer(request, "error " + request.node + " is not running\n");
  if (request.action == "kill") {
    control_->answer_when_dead(request, pid);
    ::kill(pid, SIGKILL);
    return;
  }
  // A worker stops as a machine would: the agent, which speaks for it, too. Its tasks go on.
  const int signal = request.action == "stop" ? SIGSTOP : SIGCONT;
  const pid_t agent = is_worker(*node) ? agent_of(pid) : 0;
  ::kill(pid, signal);
  if (agent != 0) ::kill(agent, signal);
  control_->answer(request, "ok\n");
}

void DevCluster::obey_start(const DevControl::Request& request, DevNode& node) {
  if (node.is_alive()) {
    return control_->answer(request, "error " + node.name() + " is running\n");
  }
  if (auto started = node.start(); !started) {
    return control_->answer(request, "error " + started.error().message + "\n");
  }
  control_->answer_when_ready(request, node);
}

// --- Ending --------------------------------------------------------------------------------------

bool DevCluster::turn_while(const std::function<bool()>& condition, Micros at_most) {
  const TimePoint deadline = clock_.now() + at_most;
  const int interrupts = interrupts_.count();
  while (condition() && clock_.now() < deadline && interrupts_.count() == interrupts) {
    loop_.poll(deadline);
  }
  return !condition();
}

void DevCluster::end() {
  is_ending_ = true;
  client_.reset();
  if (command_ != 0) {
    ::kill(command_, SIGTERM);
    turn_while([this] { return command_ != 0; }, kKilledGrace);
    if (command_ != 0) ::kill(command_, SIGKILL);
  }
  // Workers first, so that they can say goodbye.
  end_nodes(std::min(servers_, nodes_.size()), nodes_.size(), kWorkerGrace);
  end_strays();
  end_nodes(0, std::min(servers_, nodes_.size()), kMasterGrace);
  control_.reset();
  nodes_.clear();
  std::error_code ignored;
  if (is_temporary_) std::filesystem::remove_all(dir_, ignored);
}

void DevCluster::end_nodes(std::size_t begin, std::size_t end, Micros grace) {
  const auto for_each = [&](int signal) {
    for (std::size_t i = begin; i < end; ++i) nodes_[i]->signal(signal);
  };
  const auto any_alive = [&] {
    for (std::size_t i = begin; i < end; ++i) {
      if (nodes_[i]->is_alive()) return true;
    }
    return false;
  };
  for_each(SIGTERM);
  if (turn_while(any_alive, grace)) return;
  for_each(SIGKILL);
  turn_while(any_alive, kKilledGrace);
}

void DevCluster::end_strays() {
  const auto strays = [this] {
    std::vector<pid_t> pids = children_of(::getpid());
    std::erase_if(pids, [this](pid_t pid) {
      return std::any_of(nodes_.begin(), nodes_.end(),
                         [&](const auto& node) { return node->pid() == pid; });
    });
    return pids;
  };
  const auto any_left = [&] {
    const auto pids = strays();
    for (const pid_t pid : pids) ::kill(pid, SIGKILL);
    return !pids.empty();
  };
  turn_while(any_left, kKilledGrace);
}

}  // namespace capstan::cli
