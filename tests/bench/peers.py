# SPDX-License-Identifier: MIT
"""Figure 1: the same 10,000 × /bin/true, two at a time, by what people use today."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

from cluster import GIVE_UP, BenchError, Cluster

PROGRAM = "/bin/true"
SLOTS = 2


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _server(argv, port):
    """A peer's server, up when its port answers."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError as error:
                if time.monotonic() > end or process.poll() is not None:
                    raise BenchError(f"{argv[0]} did not start") from error
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(GIVE_UP)


def _checked(processes):
    for process in processes:
        if process.wait(GIVE_UP) != 0:
            raise BenchError(f"{process.args} failed")


def parallel_environment(base_dir, environment):
    """With what `parallel --citation` makes, so that it does not ask."""
    home = os.path.join(base_dir, "parallel")
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, "will-cite"), "w", encoding="ascii"):
        return dict(environment, PARALLEL_HOME=home)


class Peers:
    """Every way to do it: a function from a number of tasks to seconds."""

    def __init__(self, bin_dir, base_dir):
        self.bin = bin_dir
        self.base = base_dir
        self.cluster = None

    def ways(self):
        """(name, how, what to say of fsync and encryption); the first is the limit."""
        found = [
            ("bare posix_spawn loop", self.spawn_loop, "the limit: nothing is kept"),
            ("Capstan", self.capstan, "fsync before each acknowledgement, encrypted"),
            ("xargs -P2 -n1", self.xargs, "nothing is kept"),
            ("GNU parallel -j2", self.parallel, "nothing is kept"),
            ("gearmand, 2 spawning workers", self.gearman, "no fsync, not encrypted"),
            ("beanstalkd -f 0, 2 spawning clients", self.beanstalk, "fsync each, not encrypted"),
        ]
        return [way for way in found if self._is_there(way[0])]

    @staticmethod
    def _is_there(name):
        program = {"GNU parallel -j2": "parallel", "xargs -P2 -n1": "xargs"}.get(
            name, "gearmand" if name.startswith("gearmand")
            else "beanstalkd" if name.startswith("beanstalkd") else None)
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        return program is None or shutil.which(program, path=path) is not None

    def __enter__(self):
        self.cluster = Cluster(self.bin, self.base, workers=1, cpus=SLOTS, null=False)
        return self

    def __exit__(self, *error):
        return self.cluster.__exit__(*error)

    @staticmethod
    def _lines(tasks):
        return "".join(f"{n}\n" for n in range(tasks)).encode()

    def _timed(self, argv, **options):
        began = time.monotonic()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, **options)
        return time.monotonic() - began

    def spawn_loop(self, tasks):
        return self._timed([f"{self.bin}/bench-peer", "spawn", str(tasks), str(SLOTS), PROGRAM])

    def capstan(self, tasks):
        return self.cluster.capstan("submit", "--quiet", "--wait", "--array", f"1-{tasks}", "--",
                                    PROGRAM)[1]

    def xargs(self, tasks):
        return self._timed(["xargs", f"-P{SLOTS}", "-n1", PROGRAM], input=self._lines(tasks))

    def parallel(self, tasks):
        return self._timed(["parallel", f"-j{SLOTS}", PROGRAM], input=self._lines(tasks),
                           stderr=subprocess.DEVNULL,
                           env=parallel_environment(self.base, os.environ))

    def gearman(self, tasks):
        port = _free_port()
        gearmand = shutil.which("gearmand", path=os.environ.get("PATH", "") + ":/usr/sbin")
        log = os.path.join(self.base, "gearmand.log")
        with _server([gearmand, "--listen=127.0.0.1", f"--port={port}", f"--log-file={log}"], port):
            return self._by_queue("gearman", port, tasks)

    def beanstalk(self, tasks):
        port = _free_port()
        binlog = tempfile.mkdtemp(prefix="binlog-", dir=self.base)
        argv = ["beanstalkd", "-l", "127.0.0.1", "-p", str(port), "-b", binlog, "-f", "0"]
        try:
            with _server(argv, port):
                return self._by_queue("beanstalk", port, tasks)
        finally:
            shutil.rmtree(binlog, ignore_errors=True)

    def _by_queue(self, kind, port, tasks):
        """The workers wait already; the time ends when each was told to stop."""
        worker = [f"{self.bin}/bench-peer", f"{kind}-work", str(port), PROGRAM]
        workers = [subprocess.Popen(worker, start_new_session=True) for _ in range(SLOTS)]
        time.sleep(0.2)  # They connect; none is waited for twice.
        began = time.monotonic()
        subprocess.run([f"{self.bin}/bench-peer", f"{kind}-put", str(port), str(tasks), str(SLOTS)],
                       check=True)
        _checked(workers)
        return time.monotonic() - began


def versions():
    """Of the peers that are installed."""
    said = {}
    for name, argv in {"xargs": ["xargs", "--version"], "parallel": ["parallel", "--version"],
                       "gearmand": ["/usr/sbin/gearmand", "--version"],
                       "beanstalkd": ["beanstalkd", "-v"]}.items():
        try:
            text = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        number = re.search(r"\d[\d.]+", text)
        said[name] = number.group() if number else text.strip()
    return said
