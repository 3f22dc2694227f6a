# SPDX-License-Identifier: MIT
"""The real programs, each on a machine of its own (switch.py): two masters, a witness, workers."""

import json
import os
import shutil
import signal
import subprocess
import time

MASTERS = ("a", "b")
NODES = ("a", "b", "w")
PORT = 7741
DISK = "96m"  # Of a node: enough for a round, and quickly filled.
TIMERS = ["--suspect-after", "4s", "--lost-after", "12s", "--closed-grace", "4s"]


class Broken(Exception):
    """A promise was not kept."""


class Machines:
    def __init__(self, switch, bin_dir, directory, workers):
        self.switch, self.bin, self.dir = switch, bin_dir, directory
        self.workers = [f"w{i + 1}" for i in range(workers)]
        self.processes = {}
        self.stopped = set()
        self.effects = os.path.join(directory, "effects")
        os.makedirs(self.effects)
        self._init()

    # --- Set up and end ---------------------------------------------------------------------------

    def _init(self):
        made = os.path.join(self.dir, "made")
        members = ",".join(f"{node}={self.switch.address(node)}:{PORT}" for node in MASTERS)
        witness = f"w={self.switch.address('w')}:{PORT}"
        subprocess.run([self._program("capstan-master"), "init", "--masters", members, "--witness",
                        witness, made], check=True, stdout=subprocess.DEVNULL)
        for node in NODES:
            os.makedirs(self.disk(node))
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", self.disk(node)],
                           check=True)
            shutil.copytree(os.path.join(made, node), self.home(node))
        self.admin = os.path.join(made, "admin.access")
        self.invitation = os.path.join(made, "worker.access")
        self.made = made

    def close(self, keep):
        """`keep`: what is on the nodes' disks stays in the directory."""
        for name in list(self.processes):
            self.kill(name)
        for node in NODES:
            if keep:
                shutil.copytree(self.home(node), os.path.join(self.dir, "kept-" + node))
            subprocess.run(["umount", "-l", self.disk(node)], check=False)

    def disk(self, node):
        return os.path.join(self.dir, "disk-" + node)

    def home(self, node):
        return os.path.join(self.disk(node), "node")

    def database(self, node):
        return os.path.join(self.home(node), "capstan.db")

    def log(self, name):
        return os.path.join(self.dir, name + ".log")

    def _program(self, name):
        return os.path.join(self.bin, name)

    # --- Processes --------------------------------------------------------------------------------

    def start(self, name):
        if name in self.processes and self.processes[name].poll() is None:
            return
        if name in self.workers:
            words = [self._program("capstan-worker"), "--access", self.invitation, "--dir",
                     os.path.join(self.dir, "worker-" + name), "--name", name, "--cpus", "4"]
        else:
            words = [self._program("capstan-master"), "--dir", self.home(name), "--disk-reserve",
                     "4M"] + TIMERS
        with open(self.log(name), "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.switch.command(name, words), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def kill(self, name):
        process = self.processes.pop(name, None)
        if process is None:
            return
        self.go_on(name, process)
        process.kill()
        process.wait()

    def stop(self, name):
        process = self.processes.get(name)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            self.stopped.add(name)

    def go_on(self, name, process=None):
        process = process or self.processes.get(name)
        if name in self.stopped and process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
        self.stopped.discard(name)

    def end(self, name, within=30):
        """Told to end, as a service manager does."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Broken(f"{name} did not end within {within} s of SIGTERM") from None

    def revive(self):
        """Everything runs again; what ended by itself must have been allowed to."""
        for name in (*NODES, *self.workers):
            self.go_on(name)
            process = self.processes.get(name)
            if process is not None and process.poll() not in (None, 70):
                raise Broken(f"{name} ended by itself with {process.returncode}, see its log")
            self.start(name)

    # --- Disks ------------------------------------------------------------------------------------

    def fill(self, node):
        with open(os.path.join(self.disk(node), "filler"), "wb") as filler:
            try:
                while True:
                    filler.write(b"\0" * (1 << 20))
                    filler.flush()
            except OSError:
                pass

    def unfill(self, node):
        path = os.path.join(self.disk(node), "filler")
        if os.path.exists(path):
            os.remove(path)

    def lose_database(self, node):
        self.kill(node)
        for name in os.listdir(self.home(node)):
            if name.startswith("capstan.db"):
                os.remove(os.path.join(self.home(node), name))

    def lose_directory(self, node):
        self.kill(node)
        shutil.rmtree(self.home(node))
        shutil.copytree(os.path.join(self.made, node), self.home(node))

    # --- The command line -------------------------------------------------------------------------

    def capstan(self, *words, within=120):
        """(exit code, what it said, what it complained of)."""
        done = subprocess.run(
            self.switch.command("c", [self._program("capstan"), "--access", self.admin, *words]),
            capture_output=True, text=True, timeout=within, check=False)
        return done.returncode, done.stdout, done.stderr

    def cluster(self):
        """What `capstan cluster --json` says, or None."""
        code, out, _ = self.capstan("cluster", "--json", "--timeout", "3s")
        return json.loads(out) if code == 0 and out.strip() else None

    def wait_for(self, what, within, test):
        until = time.monotonic() + within
        while time.monotonic() < until:
            if test():
                return
            time.sleep(0.2)
        raise Broken(f"{what}: not within {within} s")

    def wait_in_sync(self, within):
        def is_whole():
            seen = self.cluster()
            return bool(seen and seen["primary"] and seen["in_sync"] and not seen["solo"])

        self.wait_for("both masters in sync", within, is_whole)
