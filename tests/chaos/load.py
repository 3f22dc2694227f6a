# SPDX-License-Identifier: MIT
"""What users do: arrays, failures that a retry mends, cancellations, and retries of their own.

Each submission has a token, so it may be said as often as it takes to be answered. `history` is
what was acknowledged, for check.py.
"""

import random
import threading

TASK = ('echo "$CAPSTAN_JOB_ID $CAPSTAN_TASK_INDEX $CAPSTAN_ATTEMPT" >> {effects}/$CAPSTAN_WORKER; '
        'sleep {nap}; [ $((CAPSTAN_TASK_INDEX % 7)) -ne 0 ] || [ "$CAPSTAN_ATTEMPT" -gt 1 ]')
ATTEMPT_LIMIT = "20s"
AGAIN = (75, 124)  # Nobody answered, or not now.


class Submission:
    def __init__(self, token, tasks, nap):
        self.token, self.tasks, self.nap = token, tasks, nap
        self.job = None  # Acknowledged under this number.


class Client(threading.Thread):
    def __init__(self, machines, number, seed, stop):
        super().__init__(daemon=True)
        self.machines, self.number, self.stop = machines, number, stop
        self.random = random.Random(seed)
        self.history = []
        self.error = None

    def run(self):
        try:
            while not self.stop.is_set():
                self._one()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _one(self):
        submission = Submission(f"c{self.number}-{len(self.history)}", self.random.randint(1, 40),
                                self.random.choice(["0", "0.05", "0.2", "0.5"]))
        self.history.append(submission)
        while not submission.job and not self.stop.is_set():
            submit(self.machines, submission)
        if submission.job and self.random.random() < 0.8:
            self._wait(submission.job)
        if submission.job and self.random.random() < 0.15:
            code, _, said = self.machines.capstan("cancel", submission.job, "--timeout",
                                                  ATTEMPT_LIMIT)
            if code not in (0, *AGAIN) and "finished already" not in said:
                raise RuntimeError(f"cancel {submission.job} ended with {code}: {said}")

    def _wait(self, job):
        """As people do; its end is that of the job whoever leads meanwhile."""
        code, _, said = self.machines.capstan("wait", job, "--timeout", ATTEMPT_LIMIT)
        if code not in (0, 1, *AGAIN):  # 1: somebody cancelled it.
            raise RuntimeError(f"wait {job} ended with {code}: {said}")


def submit(machines, submission):
    """Once. The number of an acknowledged job never changes."""
    command = TASK.format(effects=machines.effects, nap=submission.nap)
    code, out, said = machines.capstan(
        "submit", "--quiet", "--token", submission.token, "--retries", "2", "--backoff", "100ms",
        "--timeout", ATTEMPT_LIMIT, "--array", f"1-{submission.tasks}", "--", "sh", "-c", command)
    if code == 0:
        submission.job = out.strip()
    elif code not in AGAIN:
        raise RuntimeError(f"submit {submission.token} ended with {code}: {said}")
