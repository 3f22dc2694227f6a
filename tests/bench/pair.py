# SPDX-License-Identifier: MIT
"""Two masters, a witness and workers, for scripts/bench --cluster: the real programs with default
timers, on the disk of the tree. Either each on a machine of its own (the switch of tests/chaos),
or all on loopback, where nothing of ours stands between them.
"""

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

from cluster import GIVE_UP, BenchError, Cluster
from figures import Settings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "chaos"))

from switch import Switch  # noqa: E402  pylint: disable=wrong-import-position

MASTERS = ("a", "b")
NODES = ("a", "b", "w")
PORT = 7741
IN_SYNC = 120  # Seconds: only says when something is broken.


class PairSettings(Settings):
    """How much of everything."""

    def __init__(self, bin_dir, base_dir, quick, runs):
        super().__init__(bin_dir, base_dir, quick, runs)
        self.rounds = runs or (3 if quick else 20)  # Of each fault.
        self.rounds_apart = min(self.rounds, 1 if quick else 5)
        self.tasks_apart = 20_000 if quick else 100_000
        self.calm_seconds = 60 if quick else 600
        self.caught_up_tasks = 200_000 if quick else 1_000_000
        self.crowd = 1_000


class Loopback:
    """One machine; each node has an address of its own, which nobody else's bench uses."""

    def __init__(self):
        self.net = f"127.77.{os.getpid() % 250 + 1}"
        self.names = list(NODES)

    def address(self, name):
        return f"{self.net}.{self.names.index(name) + 1}"

    def command(self, _name, argv):
        return argv


class Pair(Cluster):
    """`master` and `master_dir` are those of the primary, as of the last `follow`."""

    def __init__(self, settings, net, **options):
        self.net = net
        self.nodes = {}
        try:
            super().__init__(settings.bin, settings.base, **options)
        except BaseException:
            self._kill_all()
            raise

    # --- Set up and end ---------------------------------------------------------------------------

    def command(self, machine, argv):
        return self.net.command(machine, argv)

    def home(self, node):
        return os.path.join(self.access_dir, node)

    def start_master(self):
        members = ",".join(f"{node}={self.net.address(node)}:{PORT}" for node in MASTERS)
        subprocess.run([f"{self.bin}/capstan-master", "init", "--masters", members, "--witness",
                        f"w={self.net.address('w')}:{PORT}", self.access_dir], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for node in NODES:
            self.start(node)
        self.wait_in_sync()
        return self.follow()

    def start(self, node):
        self.nodes[node] = self._start(
            node, [f"{self.bin}/capstan-master", "--dir", self.home(node), "--http", "127.0.0.1:0"],
            b"capstan-master ready")

    def follow(self):
        primary = self.primary()
        self.master, self.master_dir = self.nodes[primary], self.home(primary)
        return self.master

    def _kill_all(self):
        for process in [*getattr(self, "workers", []), *self.nodes.values()]:
            if process.poll() is None:
                process.kill()
                process.wait()

    def stop(self, keep=False):
        self.stop_workers()
        for node in NODES:
            self.end(node)
        super().stop(keep)

    def kill(self):
        """After a failure: nothing but the logs is left."""
        self._kill_all()
        shutil.rmtree(self.access_dir, ignore_errors=True)

    # --- What happens to a node -------------------------------------------------------------------

    def kill_node(self, node):
        self.nodes[node].kill()
        self.nodes[node].wait()

    def end(self, node):
        """Told to end, as a service manager does."""
        process = self.nodes[node]
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(GIVE_UP)

    def lose_database(self, node):
        """Its votes stay."""
        for name in os.listdir(self.home(node)):
            if name.startswith("capstan.db"):
                os.remove(os.path.join(self.home(node), name))

    # --- What the cluster says --------------------------------------------------------------------

    def view(self):
        """Of `capstan cluster`, or None while nobody answers."""
        out = self.capstan("cluster", "--json", "--timeout", "3s", check=False)[0]
        return json.loads(out) if out.strip() else None

    def primary(self):
        seen = self.view()
        if not seen or not seen["primary"]:
            raise BenchError(f"nobody leads: {seen}")
        return seen["primary"]

    def wait_for(self, what, test, within=IN_SYNC):
        """Of the view."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            seen = self.view()
            if seen and test(seen):
                return seen
            time.sleep(0.2)
        raise BenchError(f"{what}: not within {within} s, but {seen} (logs in {self.dir})")

    def wait_in_sync(self, within=IN_SYNC):
        return self.wait_for("both masters in sync",
                             lambda seen: seen["primary"] and seen["in_sync"] and not seen["solo"],
                             within)


@contextlib.contextmanager
def apart(settings, **options):
    """A Pair with each program on a machine of its own, the client's is "c"."""
    names = [*NODES, "c", *(f"w{i + 1}" for i in range(options.get("workers", 1)))]
    switch = Switch(f"cb{os.getpid() % 100000}", names, 1)
    try:
        with Pair(settings, switch, **options) as pair:
            yield pair
    finally:
        switch.close()


class Prober:
    """A client that runs one tiny task after another and says when each ended (steady clock)."""

    def __init__(self, pair, program="/bin/true"):
        self.answers = []  # (when it ended, until acknowledged, until its end): seconds.
        self.log = os.path.join(pair.dir, "prober.log")
        access = pair.env["CAPSTAN_ACCESS"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                pair.command("c", [f"{pair.bin}/bench-latency", access, "0", program]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.answers.append(tuple(int(word) / 1e6 for word in line.split()))

    def __enter__(self):
        self.wait_for_answer(time.monotonic())
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()

    def wait_for_answer(self, begun_after, within=IN_SYNC):
        """Until a task that was submitted then, or later, has ended."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self.answers and self.answers[-1][0] - self.answers[-1][2] >= begun_after:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            raise BenchError(f"the client gave up, or had no answer for {within} s: "
                             f"{log.read()[-500:]}")

    @contextlib.contextmanager
    def paused(self):
        """No load for a while."""
        self.process.send_signal(signal.SIGSTOP)
        yield
        self.process.send_signal(signal.SIGCONT)

    def longest_gap(self, since, until):
        """Seconds without an answer: between two neighbours, of which one is in that time."""
        ends = [ended for ended, _, _ in self.answers]
        gaps = [(later - earlier) for earlier, later in zip(ends, ends[1:])
                if later >= since and earlier <= until]
        return max(gaps)

    def medians(self, since):
        """(until acknowledged, until its end) of those that ended since."""
        taken = [answer for answer in self.answers if answer[0] >= since]
        return (statistics.median(submitted for _, submitted, _ in taken),
                statistics.median(took for _, _, took in taken))
