# SPDX-License-Identifier: MIT
"""A master and workers on this machine, and what their processes use: for scripts/bench.

Everything is the real programs on real sockets and a real disk: encrypted, every acknowledgement
behind an fsync. The directory is made below build/bench, on the disk of the tree.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
GIVE_UP = 600  # Seconds: only says when something is broken.


class BenchError(Exception):
    """Something that makes the figures worthless."""


def cpu_seconds(pid):
    """User and system time of a process, all of its threads."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid, field="VmRSS"):
    """Of /proc/PID/status, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(child) for child in listed.read().split()]


class Cluster:
    """One master and `workers` workers of `cpus` cpus each."""

    def __init__(self, bin_dir, base_dir, workers=1, cpus=2, null=True, reuse=None):
        self.bin = bin_dir
        os.makedirs(base_dir, exist_ok=True)
        self.dir = reuse or tempfile.mkdtemp(prefix="cluster-", dir=base_dir)
        self.workers = []
        self.null = null
        self.cpus = cpus
        self.master_dir = os.path.join(self.dir, "master")
        self.access_dir = self.master_dir
        self.env = dict(os.environ, CAPSTAN_ACCESS=os.path.join(self.access_dir, "admin.access"))
        self.start_seconds = 0.0
        self.master = self.start_master()
        for number in range(workers):
            self.add_worker(f"w{number + 1}", cpus)

    def start_master(self):
        began = time.monotonic()
        master = self._start(
            "master",
            [f"{self.bin}/capstan-master", "--dir", self.master_dir, "--listen", "127.0.0.1:0",
             "--http", "127.0.0.1:0", "--log-level", "warn"],
            b"capstan-master ready")
        self.start_seconds = time.monotonic() - began
        return master

    def add_worker(self, name, cpus):
        argv = [f"{self.bin}/capstan-worker", "--dir", f"{self.dir}/{name}", "--name", name,
                "--cpus", str(cpus), "--access", f"{self.access_dir}/worker.access"]
        if self.null:
            argv.append("--null-exec")
        self.workers.append(self._start(name, argv, b"worker.ready"))

    def command(self, _machine, argv):
        """`argv` on that machine: there is only this one."""
        return argv

    def _start(self, name, argv, until):
        """Waits for the line that says that it is ready."""
        argv = self.command(name, argv)
        log_path = f"{self.dir}/{name}.log"
        with open(log_path, "ab") as log:
            seen = log.tell()
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)  # As a service: no terminal.
        end = time.monotonic() + GIVE_UP
        while time.monotonic() < end:
            with open(log_path, "rb") as log:
                log.seek(seen)
                if until in log.read():
                    return process
            if process.poll() is not None:
                break
            time.sleep(0.005)
        with open(log_path, encoding="utf-8", errors="replace") as log:
            raise BenchError(f"{name} did not start:\n{log.read()[-2000:]}")

    def capstan(self, *argv, stdin=subprocess.DEVNULL, check=True):
        """Runs the command line: (its output, seconds, its processor time)."""
        began = time.monotonic()
        process = subprocess.Popen(self.command("c", [f"{self.bin}/capstan", *argv]), env=self.env,
                                   stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with process.stdout, process.stderr:
            out = process.stdout.read()
            err = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if check and process.returncode != 0:
            raise BenchError(f"capstan {' '.join(argv[:8])}: {err.decode(errors='replace')}")
        return out.decode(errors="replace"), seconds, usage.ru_utime + usage.ru_stime

    def pids(self):
        """Of the master, the shepherds and the agents."""
        agents = [pid for worker in self.workers for pid in children(worker.pid)]
        return [self.master.pid, *(worker.pid for worker in self.workers), *agents]

    def usage(self):
        """Processor seconds so far: the master's, the shepherds', the agents'."""
        agents = [pid for worker in self.workers for pid in children(worker.pid)]
        return {"master": cpu_seconds(self.master.pid),
                "shepherds": sum(cpu_seconds(worker.pid) for worker in self.workers),
                "agents": sum(cpu_seconds(pid) for pid in agents)}

    def database(self):
        return sqlite3.connect(f"file:{self.master_dir}/capstan.db?mode=ro", uri=True)

    def status(self):
        return json.loads(self.capstan("status", "--json")[0])

    def stop_master(self):
        """The clean way."""
        self.master.send_signal(signal.SIGTERM)
        self.master.wait(GIVE_UP)

    def stop_workers(self):
        for process in self.workers:
            process.send_signal(signal.SIGTERM)
        for process in self.workers:
            process.wait(GIVE_UP)

    def stop(self, keep=False):
        self.stop_workers()
        if self.master.poll() is None:
            self.stop_master()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def kill(self):
        """After a failure: nothing is left running."""
        for process in [*self.workers, self.master]:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.stop()
        else:
            self.kill()


def job_of(output):
    """The id that `capstan submit --quiet` printed."""
    found = re.search(r"\d+", output)
    if not found:
        raise BenchError(f"no job id in {output!r}")
    return int(found.group())
