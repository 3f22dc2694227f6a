# SPDX-License-Identifier: MIT
"""Figure 4 of scripts/bench --cluster: a failover with a thousand connected workers (all in one
process, bench-crowd) against one with a single worker of the same kind.
"""

import collections
import os
import statistics
import subprocess
import threading
import time

from cluster import BenchError
from failovers import SETTLE, WINDOW
from pair import MASTERS, Loopback, Pair, Prober

TOGETHER = 120  # Seconds for all of them to connect: only says when something is broken.
SLOT = 0.1


class Crowd:
    """bench-crowd, and what it said."""

    def __init__(self, pair, workers):
        self.workers = workers
        self.said = {"session": [], "link": []}  # (when, worker, master's number)
        self.log = os.path.join(pair.dir, "crowd.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [f"{pair.bin}/bench-crowd", f"{pair.access_dir}/worker.access", str(workers)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            when, what, worker, master = line.split()
            self.said[what].append((int(when) / 1e6, int(worker), int(master)))

    def wait_for_all(self, what, master, since):
        """Until each has said so of that master, since then. -> when each did for the first time"""
        end = time.monotonic() + TOGETHER
        while time.monotonic() < end and self.process.poll() is None:
            first = {}
            for when, worker, its_master in self.said[what]:
                if when >= since and its_master == master:
                    first.setdefault(worker, when)
            if len(first) == self.workers:
                return sorted(first.values())
            time.sleep(0.1)
        raise BenchError(f"only {len(first)} of {self.workers} workers: {what} (see {self.log})")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


def _busiest(moments):
    """The most of them in one slot of time."""
    return max(collections.Counter(int(when / SLOT) for when in moments).values())


def _one_round(pair, workers, prober):
    time.sleep(SETTLE)
    leader = pair.wait_in_sync()["primary"]
    other = MASTERS[1 - MASTERS.index(leader)]
    prober.wait_for_answer(time.monotonic())
    struck = time.monotonic()
    pair.kill_node(leader)
    prober.wait_for_answer(time.monotonic() + WINDOW)
    gap = prober.longest_gap(struck, time.monotonic())
    sessions = workers.wait_for_all("session", MASTERS.index(other), struck)
    started = time.monotonic()
    pair.start(leader)
    links = workers.wait_for_all("link", MASTERS.index(leader), started)
    pair.wait_in_sync()
    back = prober.longest_gap(started, time.monotonic())
    return {"gap": gap, "back": back,
            "sessions": {"last": sessions[-1] - struck, "busiest": _busiest(sessions)},
            "links": {"spread": links[-1] - links[0], "busiest": _busiest(links)}}


def _with_workers(settings, count):
    with Pair(settings, Loopback(), workers=0) as pair:
        began = time.monotonic()
        with Crowd(pair, count) as workers:
            workers.wait_for_all("session", MASTERS.index(pair.primary()), began)
            together = time.monotonic() - began
            for number in range(len(MASTERS)):
                workers.wait_for_all("link", number, began)
            with Prober(pair) as prober:
                rounds = [_one_round(pair, workers, prober) for _ in range(settings.rounds)]
    gaps = [one["gap"] for one in rounds]
    row = {"workers": count, "together": together, "median": statistics.median(gaps),
           "worst": max(gaps), "back": max(one["back"] for one in rounds), "all": rounds}
    for what, key in (("sessions", "last"), ("links", "spread")):
        row[what] = {name: statistics.median(one[what][name] for one in rounds)
                     for name in (key, "busiest")}
    print(f"  workers: {count:,}; median {row['median']:.2f} s, worst {row['worst']:.2f} s",
          flush=True)
    return row


def crowd(settings):
    return {"rows": [_with_workers(settings, count) for count in (1, settings.crowd)]}
