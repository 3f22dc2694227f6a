# SPDX-License-Identifier: MIT
"""Figures 2 and 3 of scripts/bench --cluster: what a standby costs in throughput while it is in
sync, and while an empty one catches up. All processes on the same cpus.
"""

import sqlite3
import statistics
import time
import typing

from cluster import BenchError
from figures import check_null_sums, run_null_job
from pair import MASTERS, Loopback, Pair

TABLES = 10.0  # Seconds until they have what is committed: half of one, by the docs.
REAL_PIECES = 4  # Of the real tasks of one round.
CATCH_UP = 900  # Seconds: only says when something is broken.


def _say(text):
    print(f"  {text}", flush=True)


def other(node):
    return MASTERS[1 - MASTERS.index(node)]


# --- 2: in sync ---------------------------------------------------------------------------------


def _lag(pair):
    """Entries that the standby does not have yet, as `capstan cluster` tells."""
    return max(node["lag"] for node in pair.view()["nodes"] if node["role"] == "standby")


class _Tables(typing.NamedTuple):
    """Of one node: what check_null_sums reads."""
    home: str

    def database(self):
        return sqlite3.connect(f"file:{self.home}/capstan.db?mode=ro", uri=True)


def _check_tables(pair, node, job, tasks):
    """It has every row: in a pair tables follow the journal."""
    tables = _Tables(pair.home(node))
    end = time.monotonic() + TABLES
    while True:
        try:
            return check_null_sums(tables, job, tasks)
        except BenchError:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


def _null_round(lone, pair, tasks, rows):
    rows["lone"].append(run_null_job(lone, tasks))
    result = run_null_job(pair, tasks, check=False)
    result["lag"] = _lag(pair)
    for node in MASTERS:
        _check_tables(pair, node, result["job"], tasks)
    if not pair.view()["in_sync"]:
        raise BenchError("the standby fell out of sync: this is not what was to be measured")
    rows["pair"].append(result)


def _real_round(lone, pair, tasks, rows):
    """In pieces, and who begins changes: the machine is faster and slower for seconds at a time."""
    order = [("lone", lone), ("pair", pair)]
    piece = tasks // REAL_PIECES
    for _ in range(REAL_PIECES):
        for name, cluster in order:
            seconds = cluster.capstan("submit", "--quiet", "--wait", "--array", f"1-{piece}", "--",
                                      "/bin/true")[1]
            rows[name].append({"tasks_per_second": piece / seconds})
        order.reverse()


def _compare(settings, null, tasks, one_round):
    """Both at once, and one after the other works: what disturbs one disturbs both."""
    rows = {"lone": [], "pair": []}
    with settings.cluster(workers=1, cpus=2, null=null) as lone, \
            Pair(settings, Loopback(), workers=1, cpus=2, null=null) as pair:
        for _ in range(settings.runs):
            one_round(lone, pair, tasks, rows)
    rates = {name: statistics.median(row["tasks_per_second"] for row in each)
             for name, each in rows.items()}
    ratios = [pair["tasks_per_second"] / lone["tasks_per_second"]
              for lone, pair in zip(rows["lone"], rows["pair"])]
    found = {"tasks": tasks, "lone": rates["lone"], "pair": rates["pair"],
             "ratio": statistics.median(ratios)}
    if null:
        cpu = {name: statistics.median(row["cpu_us"]["master"] for row in each)
               for name, each in rows.items()}
        found["primary_us"] = {**cpu, "ratio": cpu["pair"] / cpu["lone"]}
        found["lag"] = max(row["lag"] for row in rows["pair"])
    _say(f"{'null' if null else 'real'} tasks: {found['ratio']:.2f} of a lone master's throughput")
    return found


def in_sync(settings):
    return {"null": _compare(settings, True, settings.null_tasks, _null_round),
            "real": _compare(settings, False, settings.real_tasks, _real_round)}


# --- 3: catching up -----------------------------------------------------------------------------


def catch_up(settings):
    """A standby whose database was deleted; jobs follow each other while it fetches a copy."""
    history, piece = settings.caught_up_tasks, settings.caught_up_tasks // 10
    with Pair(settings, Loopback(), workers=1, cpus=2) as pair:
        run_null_job(pair, history)
        primary = pair.primary()
        standby = other(primary)
        pair.end(standby)
        pair.lose_database(standby)
        pair.wait_for("the primary alone", lambda seen: seen["solo"])
        alone = [run_null_job(pair, piece, check=False)["tasks_per_second"]
                 for _ in range(settings.runs)]
        _say(f"alone: {statistics.median(alone):,.0f} tasks/s")
        pair.start(standby)
        began = time.monotonic()
        meanwhile = []
        while not pair.view()["in_sync"]:
            meanwhile.append(run_null_job(pair, piece, check=False))
            if time.monotonic() > began + CATCH_UP:
                raise BenchError(f"not in sync within {CATCH_UP} s (see {pair.dir})")
        took = time.monotonic() - began
        last = meanwhile[-1]
        _check_tables(pair, standby, last["job"], last["tasks"])
    rate = sum(one["tasks"] for one in meanwhile) / sum(one["seconds"] for one in meanwhile)
    _say(f"in sync after {took:.1f} s, meanwhile {rate:,.0f} tasks/s")
    return {"history": history, "seconds": took, "piece": piece,
            "alone": statistics.median(alone), "meanwhile": rate,
            "ratio": rate / statistics.median(alone),
            "meanwhile_all": [one["tasks_per_second"] for one in meanwhile]}
