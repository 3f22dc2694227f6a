# SPDX-License-Identifier: MIT
"""What must be true when everything runs again: by the clients' history, the tasks' own log of what
they did, and both databases."""

import collections
import glob
import json
import os
import sqlite3

from load import submit
from machines import MASTERS, Broken

NOT_COMPARED = {"meta", "journal"}  # A node's own, or trimmed by each when it likes.
DONE = {"succeeded", "failed", "cancelled"}


def all_answered(machines, history, within):
    """What was never answered is said once more: now it must be taken."""
    for submission in history:
        if submission.job is None:
            machines.wait_for(f"{submission.token} acknowledged", within,
                              lambda one=submission: submit(machines, one) or one.job)


def all_finished(machines, within):
    def is_over():
        code, out, _ = machines.capstan("jobs", "--all", "--json", "--timeout", "5s")
        return code == 0 and all(json.loads(line)["state"] in DONE for line in out.splitlines())

    machines.wait_for("every job finished", within, is_over)


def executions(machines):
    """(job, task) -> the attempts that ran."""
    ran = collections.defaultdict(list)
    for path in glob.glob(os.path.join(machines.effects, "*")):
        with open(path, encoding="ascii") as lines:
            for line in lines:
                job, task, attempt = (int(word) for word in line.split())
                ran[(job, task)].append(attempt)
    for (job, task), attempts in ran.items():
        if len(set(attempts)) != len(attempts):
            raise Broken(f"an attempt of {job}.{task} ran twice: {attempts}")
    return ran


def acknowledged(machines, history, ran):
    """Each job is there with its tasks, each with one end, and what succeeded did run."""
    numbers = [submission.job for submission in history]
    if len(set(numbers)) != len(numbers):
        raise Broken(f"two submissions under one number: {numbers}")
    for submission in history:
        _check_job(machines, submission, ran)


def _check_job(machines, submission, ran):
    code, out, said = machines.capstan("tasks", submission.job, "--json")
    if code != 0:
        raise Broken(f"acknowledged job {submission.job} is not there: {said.strip()}")
    tasks = [json.loads(line) for line in out.splitlines()]
    name = f"job {submission.job}"
    if sorted(task["task"] for task in tasks) != list(range(1, submission.tasks + 1)):
        raise Broken(f"{name} has {len(tasks)} tasks of {submission.tasks}")
    for task in tasks:
        attempts = ran.get((int(submission.job), task["task"]), [])
        if task["state"] == "succeeded" and task["attempt"] not in attempts:
            raise Broken(f"{name}.{task['task']} succeeded in attempt {task['attempt']}, and only "
                         f"{attempts} ran")
        if task["state"] not in DONE:
            raise Broken(f"{name}.{task['task']} is {task['state']} for ever")


def tables(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        names = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
                for name in names if name not in NOT_COMPARED and not name.startswith("sqlite_")}
    finally:
        connection.close()


def equal_databases(machines, within):
    """The same rows on both masters; half a second behind at most, when nothing happens."""
    def are_equal():
        a, b = (tables(machines.database(node)) for node in MASTERS)
        return a == b

    try:
        machines.wait_for("equal databases", within, are_equal)
    except Broken:
        a, b = (tables(machines.database(node)) for node in MASTERS)
        differing = [name for name in a if a[name] != b.get(name)]
        raise Broken(f"the databases differ in {', '.join(differing)}") from None


def equal_journals(machines):
    """The journals have the same batch, of the same epoch, at each place."""
    batches = {}
    for node in MASTERS:
        connection = sqlite3.connect(f"file:{machines.database(node)}?mode=ro", uri=True)
        for first, last, epoch, chain in connection.execute(
                "SELECT first_seq, last_seq, epoch, hex(chain) FROM journal"):
            seen = batches.setdefault(first, (last, epoch, chain))
            if seen != (last, epoch, chain):
                raise Broken(f"two batches at {first}: {seen} and {(last, epoch, chain)}")
        connection.close()


def nothing_left(machines):
    """No process of a task when its worker was told to end."""
    mark = machines.effects.encode()
    left = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as words:
                if mark in words.read():
                    left.append(entry)
        except OSError:
            continue
    if left:
        raise Broken(f"processes left behind: {' '.join(left)}")
