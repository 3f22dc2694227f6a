# SPDX-License-Identifier: MIT
"""Figures 1 and 5 of scripts/bench --cluster: for how long a client has no answer when a master
dies, hangs, is cut off or hands over; and the same with the two masters far from each other.
"""

import signal
import statistics
import subprocess
import sys
import time
import typing

from cluster import BenchError
from figures import run_null_job
from pair import MASTERS, PORT, Prober, apart

WINDOW = 1.0  # Seconds behind a fault: what it does may take a moment to show.
# Before a fault: libzmq dials a master that is back within 2 to 5 seconds.
SETTLE = 6.0
UNDER_LOAD = 30.0  # To be in sync again while the client goes on: ten of them are steadiness.
ROUND_TRIPS_MS = (0.2, 20, 80)
# The switch itself takes about that long, and cannot wait for less than a millisecond.
NO_DELAY_MS = 1


class Fault(typing.NamedTuple):
    name: str
    at_primary: bool
    moves: bool  # Somebody else leads afterwards.
    strike: typing.Callable
    mend: typing.Callable
    aims: tuple  # Median and worst, in seconds.


def _send(number):
    return lambda pair, node: pair.nodes[node].send_signal(number)


def _cut(is_cut):
    def set_links(pair, node):
        for (source, target), link in pair.net.links.items():
            if node in (source, target):
                link.cut = is_cut
    return set_links


def _kill(pair, node):
    pair.kill_node(node)


def _end(pair, node):
    pair.end(node)


def _start(pair, node):
    pair.start(node)


def _hand_over(pair, _node):
    pair.capstan("failover")


def _nothing(_pair, _node):
    pass


STOP, GO_ON = _send(signal.SIGSTOP), _send(signal.SIGCONT)
KILLED = Fault("primary killed (-9)", True, True, _kill, _start, (1, 3))
CUT_OFF = Fault("primary cut off", True, True, _cut(True), _cut(False), (5, 8))
PLANNED = Fault("planned failover", True, True, _hand_over, _nothing, (0.3, 0.3))
FAULTS = (
    KILLED,
    Fault("primary stopped (SIGSTOP)", True, True, STOP, GO_ON, (5, 8)),
    CUT_OFF,
    PLANNED,
    Fault("standby killed (-9)", False, False, _kill, _start, (0.5, 0.5)),
    Fault("standby stopped (SIGSTOP)", False, False, STOP, GO_ON, (3, 3)),
    Fault("standby told to end", False, False, _end, _start, (0.1, 0.1)),
)


def _say(text):
    print(f"  {text}", flush=True)


def _whole_again(pair, prober):
    """-> were they in sync again while the client went on? Else it pauses for that."""
    try:
        pair.wait_in_sync(UNDER_LOAD)
        return True
    except BenchError:
        with prober.paused():
            pair.wait_in_sync()
        return False


def strike_once(pair, prober, fault):
    """-> seconds without an answer at the fault, and from then on until both are in sync."""
    time.sleep(SETTLE)
    before = pair.wait_in_sync()
    leader = before["primary"]
    other = MASTERS[1 - MASTERS.index(leader)]
    node = leader if fault.at_primary else other
    prober.wait_for_answer(time.monotonic())
    struck = time.monotonic()
    fault.strike(pair, node)
    prober.wait_for_answer(time.monotonic() + WINDOW)
    over = time.monotonic()
    wanted = other if fault.moves else leader
    seen = pair.wait_for(f"{fault.name}: {wanted} leads", lambda view: view["primary"] == wanted)
    if (seen["epoch"] != before["epoch"]) != fault.moves:
        raise BenchError(f"{fault.name}: epoch {before['epoch']}, then {seen['epoch']}")
    fault.mend(pair, node)
    under_load = _whole_again(pair, prober)
    prober.wait_for_answer(time.monotonic())
    return {"fault": prober.longest_gap(struck, over), "under_load": under_load,
            "back": prober.longest_gap(over, time.monotonic()) if under_load else 0.0}


def rounds_of(pair, prober, fault, rounds):
    took = [strike_once(pair, prober, fault) for _ in range(rounds)]
    gaps = [one["fault"] for one in took]
    row = {"name": fault.name, "rounds": rounds, "median": statistics.median(gaps),
           "worst": max(gaps), "aims": fault.aims, "back": max(one["back"] for one in took),
           "under_load": sum(one["under_load"] for one in took), "all": took}
    _say(f"{fault.name}: median {row['median']:.2f} s, worst {row['worst']:.2f} s")
    return row


def failovers(settings):
    """One worker, real tasks."""
    with apart(settings, workers=1, cpus=2, null=False) as pair, Prober(pair) as prober:
        began = time.monotonic()
        prober.wait_for_answer(began + 2)
        calm = prober.medians(began)[1]
        rows = [rounds_of(pair, prober, fault, settings.rounds) for fault in FAULTS]
    return {"calm": calm, "rows": rows}


# --- 5: the masters apart -----------------------------------------------------------------------

DIAL = """
import socket, statistics, time
took = []
for _ in range(20):
    began = time.perf_counter()
    socket.create_connection(({address!r}, {port}), 5).close()
    took.append(time.perf_counter() - began)
print(statistics.median(took))
"""


def _round_trip(pair):
    """Between the masters: a TCP connection is there after one."""
    code = DIAL.format(address=pair.net.address("b"), port=PORT)
    said = subprocess.run(pair.command("a", [sys.executable, "-c", code]), check=True,
                          capture_output=True, text=True).stdout
    return float(said)


def _move_apart(pair, milliseconds):
    for ends in (("a", "b"), ("b", "a")):
        delay = milliseconds / 2e3 if milliseconds >= NO_DELAY_MS else 0.0
        pair.net.between(*ends).delay = delay


def _calm(pair, prober, seconds):
    """So long without a failover, under the prober's tasks. -> (its longest gap, failovers)"""
    before = pair.wait_in_sync()
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        time.sleep(1)
    prober.wait_for_answer(time.monotonic())
    after = pair.view()
    return prober.longest_gap(began, time.monotonic()), int(
        after["epoch"] != before["epoch"] or not after["in_sync"])


def at_distance(settings, milliseconds):
    """Null tasks: what the distance costs is not hidden behind starting processes."""
    with apart(settings, workers=1, cpus=2) as pair:
        _move_apart(pair, milliseconds)
        pair.wait_in_sync()
        row = {"wanted_ms": milliseconds, "round_trip": _round_trip(pair)}
        jobs = [run_null_job(pair, settings.tasks_apart, check=False) for _ in range(3)]
        row["tasks_per_second"] = statistics.median(job["tasks_per_second"] for job in jobs)
        with Prober(pair) as prober:
            began = time.monotonic()
            prober.wait_for_answer(began + 5)
            row["submit"], row["result"] = prober.medians(began)
            row["faults"] = [rounds_of(pair, prober, fault, settings.rounds_apart)
                             for fault in (KILLED, CUT_OFF, PLANNED)]
            row["calm_seconds"] = settings.calm_seconds
            row["calm_gap"], row["false_failovers"] = _calm(pair, prober, settings.calm_seconds)
    _say(f"{milliseconds} ms: submit {row['submit'] * 1e3:.1f} ms, "
         f"{row['tasks_per_second']:,.0f} tasks/s")
    return row


def distances(settings):
    return {"rows": [at_distance(settings, each) for each in ROUND_TRIPS_MS]}
