# SPDX-License-Identifier: MIT
"""What goes wrong in a round: drawn from its seed, one after the other, some of them at once."""

import time

from machines import MASTERS, NODES


def play(machines, rng, done):
    """What was done is added to `done`, in words. What lasts longer than the round ends with it."""
    undo = []
    if rng.random() < 0.3:
        done.append(lose_a_disk(machines, rng))
    for _ in range(rng.randint(1, 4)):
        rest(machines, rng.uniform(0.5, 3.0), undo)
        words, until, action = rng.choice(FAULTS)(machines, rng)
        done.append(words)
        if action is not None:
            undo.append((time.monotonic() + until, action))
    rest(machines, rng.uniform(1.0, 4.0), undo)


def rest(machines, seconds, undo):
    """Time passes; what is over by then is taken back, and ended nodes are started again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for due in [each for each in undo if each[0] <= time.monotonic()]:
            undo.remove(due)
            due[1]()
        time.sleep(0.05)


def lose_a_disk(machines, rng):
    """While both have everything: of one master the database, or all that it was given."""
    machines.wait_in_sync(60)
    node = rng.choice(MASTERS)
    if rng.random() < 0.5:
        machines.lose_database(node)
        machines.start(node)
        return f"{node} loses its database"
    machines.lose_directory(node)
    machines.start(node)

    def is_taken():
        return machines.capstan("cluster", "reseed", node, "--timeout", "5s")[0] == 0

    machines.wait_for(f"{node} re-seeded", 90, is_taken)
    return f"{node} loses its directory and is re-seeded"


def kill(machines, rng):
    name = rng.choice((*NODES, "a", "b", *machines.workers))
    seconds = rng.choice((0.0, rng.uniform(0.1, 8.0)))
    machines.kill(name)
    return f"kill -9 {name} for {seconds:.1f} s", seconds, lambda: machines.start(name)


def stop(machines, rng):
    name = rng.choice((*NODES, "a", "b", *machines.workers))
    seconds = rng.uniform(1.0, 30.0) if rng.random() < 0.3 else rng.uniform(1.0, 8.0)
    machines.stop(name)
    return f"SIGSTOP {name} for {seconds:.1f} s", seconds, lambda: machines.go_on(name)


def cut(machines, rng):
    a, b = rng.sample((*NODES, *machines.workers, "c"), 2)
    if rng.random() < 0.6:
        a, b = rng.sample(NODES, 2)
    both = rng.random() < 0.6
    links = [machines.switch.between(a, b)] + ([machines.switch.between(b, a)] if both else [])
    return impair(links, rng, f"{a} {'|' if both else '-x->'} {b}", "cut", True)


def isolate(machines, rng):
    node = rng.choice(NODES)
    links = [link for pair, link in machines.switch.links.items() if node in pair]
    return impair(links, rng, f"{node} | all", "cut", True)


def slow(machines, rng):
    node = rng.choice((*NODES, *machines.workers, "c"))
    links = [link for pair, link in machines.switch.links.items() if node in pair]
    delay = rng.choice((0.005, 0.02, 0.1, 0.3))
    return impair(links, rng, f"{node} slow by {delay * 1000:.0f} ms", "delay", delay)


def lossy(machines, rng):
    node = rng.choice((*NODES, *machines.workers, "c"))
    links = [link for pair, link in machines.switch.links.items() if node in pair]
    loss = rng.choice((0.01, 0.05, 0.3))
    return impair(links, rng, f"{node} loses {loss * 100:.0f} %", "loss", loss)


def impair(links, rng, words, field, value):
    seconds = rng.uniform(0.5, 12.0)
    plain = False if field == "cut" else 0.0

    def heal():
        for link in links:
            setattr(link, field, plain)

    for link in links:
        setattr(link, field, value)
    return f"{words} for {seconds:.1f} s", seconds, heal


def full_disk(machines, rng):
    node = rng.choice(MASTERS)
    seconds = rng.uniform(1.0, 6.0)
    machines.fill(node)
    return f"disk of {node} full for {seconds:.1f} s", seconds, lambda: machines.unfill(node)


def switch_over(machines, _rng):
    code, _, _ = machines.capstan("failover", "--timeout", "5s")
    return f"planned failover ({'done' if code == 0 else f'refused, {code}'})", 0.0, None


FAULTS = (kill, kill, kill, stop, stop, cut, cut, isolate, slow, lossy, full_disk, switch_over)
