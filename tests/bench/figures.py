# SPDX-License-Identifier: MIT
"""The figures of scripts/bench. Each returns a plain dictionary: what --json prints."""

import contextlib
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time

from cluster import BenchError, Cluster, cpu_seconds, job_of, memory
from peers import Peers, parallel_environment

MIB = 1 << 20


class Settings:
    """How much of everything."""

    def __init__(self, bin_dir, base_dir, quick, runs):
        self.bin = bin_dir
        self.base = base_dir
        self.quick = quick
        self.runs = runs or (3 if quick else 5)
        self.real_tasks = 2_000 if quick else 10_000
        self.null_tasks = 200_000 if quick else 1_000_000
        self.latencies = 50 if quick else 300
        self.history = 1_000_000 if quick else 10_000_000
        self.pictures = 100 if quick else 500
        self.idle_seconds = 10 if quick else 30

    def cluster(self, **options):
        return Cluster(self.bin, self.base, **options)


def _median(values):
    return statistics.median(values)


def _say(text):
    print(f"  {text}", flush=True)


# --- 1: real tasks, against the peers -----------------------------------------------------------


def real_tasks(settings):
    """Side by side: each round runs every way once, so that what disturbs one disturbs all."""
    seconds = {}
    told = {}
    with Peers(settings.bin, settings.base) as peers:
        for round_number in range(settings.runs):
            for name, way, note in peers.ways():
                seconds.setdefault(name, []).append(way(settings.real_tasks))
                told[name] = note
            _say(f"round {round_number + 1} of {settings.runs}")
    names = list(seconds)
    limit = _median(seconds[names[0]])
    rows = []
    for name in names:
        took = _median(seconds[name])
        rows.append({"name": name, "tasks_per_second": settings.real_tasks / took,
                     "of_the_limit": limit / took, "note": told[name]})
    return {"tasks": settings.real_tasks, "rows": rows}


# --- 2: the scheduler alone ---------------------------------------------------------------------


def check_null_sums(cluster, job, tasks):
    """Every task has one row of its own with the usage that its runner made up."""
    want_cpu = sum(1 + task % 1009 for task in range(1, tasks + 1))
    want_rss = sum((1 + task % 1021) * 4096 for task in range(1, tasks + 1))
    database = cluster.database()
    try:
        row = database.execute(
            "SELECT count(*), sum(cpu_us), sum(max_rss_bytes), sum(state = 'succeeded'),"
            " sum(assigned_at_us <= started_at_us AND started_at_us <= finished_at_us),"
            " min(task), max(task) FROM tasks WHERE job = ?", (job,)).fetchone()
    finally:
        database.close()
    if row != (tasks, want_cpu, want_rss, tasks, tasks, 1, tasks):
        raise BenchError(f"the rows of job {job} are not what was run: {row}")


def run_null_job(cluster, tasks, check=True):
    """One array of null tasks, from submit to the last committed result."""
    before = cluster.usage()
    output, seconds, client_cpu = cluster.capstan("submit", "--quiet", "--wait", "--array",
                                                  f"1-{tasks}", "--", "true")
    after = cluster.usage()
    cpu = {part: (after[part] - before[part]) / tasks * 1e6 for part in before}
    cpu["client"] = client_cpu / tasks * 1e6
    job = job_of(output)
    if check:
        check_null_sums(cluster, job, tasks)
    return {"job": job, "tasks": tasks, "seconds": seconds, "tasks_per_second": tasks / seconds,
            "cpu_us": cpu, "cpu_us_all": sum(cpu.values())}


SHAPES = ((1, 2), (16, 8))


def _null_shape(settings, workers, cpus, tasks, runs):
    with settings.cluster(workers=workers, cpus=cpus) as cluster:
        results = [run_null_job(cluster, tasks) for _ in range(runs)]
        resident = memory(cluster.master.pid)
    parts = results[0]["cpu_us"]
    return {"workers": workers, "cpus": cpus, "tasks": tasks,
            "tasks_per_second": _median([r["tasks_per_second"] for r in results]),
            "best": max(r["tasks_per_second"] for r in results),
            "cpu_us": {part: _median([r["cpu_us"][part] for r in results]) for part in parts},
            "cpu_us_all": _median([r["cpu_us_all"] for r in results]),
            "master_resident": resident}


def scheduler_alone(settings):
    rows = []
    for workers, cpus in SHAPES:
        rows.append(_null_shape(settings, workers, cpus, settings.null_tasks, settings.runs))
        _say(f"{workers} × {cpus}: {rows[-1]['tasks_per_second']:,.0f} tasks/s")
    return {"rows": rows}


def cost_curve(settings):
    """tasks/s by the number of queued tasks."""
    rows = []
    for workers, cpus in SHAPES:
        with settings.cluster(workers=workers, cpus=cpus) as cluster:
            for tasks in (1_000, 10_000, 100_000, 1_000_000):
                if tasks > settings.null_tasks:
                    break
                runs = settings.runs if tasks < 1_000_000 else 1
                rates = [run_null_job(cluster, tasks)["tasks_per_second"] for _ in range(runs)]
                rows.append({"workers": workers, "cpus": cpus, "tasks": tasks,
                             "tasks_per_second": _median(rates)})
    return {"rows": rows}


# --- 3: what a large job costs ------------------------------------------------------------------


def _retry_half(cluster, job, tasks):
    """A random half of the finished tasks waits again: what is left is done in random order."""
    chosen = random.Random(4).sample(range(1, tasks + 1), tasks // 2)
    chosen.sort()
    piece = 4_000  # Arguments of one command.
    for begin in range(0, len(chosen), piece):
        targets = [f"{job}.{task}" for task in chosen[begin:begin + piece]]
        cluster.capstan("retry", "--quiet", *targets)


def queue_size(settings, tasks):
    """Submit, memory while queued, memory half done in random order with 5 % failed (0.5 % of ten
    million: a finished job with more than some 200,000 changes of state is not opened again)."""
    every = "20" if tasks <= 1_000_000 else "200"
    with settings.cluster(workers=0) as cluster:
        empty = memory(cluster.master.pid)
        took = []
        for _ in range(settings.runs):
            output, seconds, _ = cluster.capstan("submit", "--quiet", "--retries", "0", "--array",
                                                 f"1-{tasks}", "--", "fail-every", every)
            took.append(seconds)
            job = job_of(output)
            queued = memory(cluster.master.pid)
            if len(took) < settings.runs:
                cluster.capstan("cancel", str(job))
        cluster.add_worker("w1", 8)
        cluster.capstan("wait", "--quiet", str(job), check=False)
        worker = cluster.workers.pop()
        worker.terminate()
        worker.wait()
        ran = memory(cluster.master.pid)
        _retry_half(cluster, job, tasks)
        half = memory(cluster.master.pid)
        # The same queue in a fresh process: nothing but what it needs.
        cluster.stop_master()
        cluster.master = cluster.start_master()
        return {"tasks": tasks, "submit_seconds": _median(took), "empty": empty, "queued": queued,
                "after_all_ran": ran, "half_done": half,
                "half_done_restarted": memory(cluster.master.pid),
                "restart_seconds": cluster.start_seconds}


def inputs_size(settings, count=1_000_000, size=100):
    with settings.cluster(workers=0) as cluster:
        with tempfile.NamedTemporaryFile("w", dir=cluster.dir, suffix=".list") as listed:
            for number in range(count):
                listed.write(f"{number:0{size}d}\n")
            listed.flush()
            before = memory(cluster.master.pid)
            _, seconds, _ = cluster.capstan("submit", "--quiet", "--each-line", listed.name, "--",
                                            "true")
        return {"inputs": count, "bytes": size, "submit_seconds": seconds,
                "grew": memory(cluster.master.pid) - before,
                "peak_grew": memory(cluster.master.pid, "VmHWM") - before}


def large_jobs(settings):
    sizes = [settings.null_tasks] if settings.quick else [1_000_000, 10_000_000]
    return {"arrays": [queue_size(settings, tasks) for tasks in sizes],
            "inputs": inputs_size(settings, 100_000 if settings.quick else 1_000_000)}


# --- 4: latency ---------------------------------------------------------------------------------


def _percentiles(values):
    values = sorted(values)
    return {"p50_ms": values[len(values) // 2], "p99_ms": values[len(values) * 99 // 100],
            "runs": len(values)}


def latency(settings):
    with settings.cluster(workers=1, cpus=2, null=False) as cluster:
        cluster.capstan("run", "--", "true")
        whole = [cluster.capstan("run", "--", "true")[1] * 1e3 for _ in range(settings.latencies)]
        said = subprocess.run(
            [f"{settings.bin}/bench-latency", cluster.env["CAPSTAN_ACCESS"],
             str(settings.latencies), "/bin/true"],
            check=True, capture_output=True, text=True).stdout
        inside = [int(line) / 1e3 for line in said.split()]
    return {"process": _percentiles(whole), "client": _percentiles(inside)}


# --- 5: a long history --------------------------------------------------------------------------


def _median_call(cluster, *argv, runs=5):
    return _median([cluster.capstan(*argv)[1] for _ in range(runs)])


def _while_deleting(cluster, settings):
    """Null tasks while retention deletes the history: (tasks/s, rows of tasks deleted a second)."""
    def rows():
        with contextlib.closing(cluster.database()) as database:
            return database.execute("SELECT count(*) FROM task_rows").fetchone()[0]

    before = rows()
    cluster.capstan("purge", "--yes", "--older-than", "0s")
    run = run_null_job(cluster, settings.null_tasks, check=False)
    return run["tasks_per_second"], (before + run["tasks"] - rows()) / run["seconds"]


def _rate_of_an_empty_one(settings):
    """Now: a machine is faster and slower by a third within minutes."""
    with settings.cluster(workers=1, cpus=2) as cluster:
        run_null_job(cluster, 20_000, check=False)
        return run_null_job(cluster, settings.null_tasks)["tasks_per_second"]


def history(settings):
    """Millions of finished tasks in the database: start, memory, lists, and figure 2 again."""
    with settings.cluster(workers=1, cpus=2) as cluster:
        piece = 1_000_000
        for _ in range(settings.history // piece):
            job = run_null_job(cluster, piece, check=False)["job"]
        empty, loaded = [], []
        for _ in range(settings.runs):  # One behind the other: the rounds' ratios count.
            empty.append(_rate_of_an_empty_one(settings))
            loaded.append(run_null_job(cluster, settings.null_tasks)["tasks_per_second"])
        _say(f"empty: {_median(empty):,.0f} tasks/s")
        cluster.stop_master()
        starts = []
        for _ in range(3):
            cluster.master = cluster.start_master()
            starts.append(cluster.start_seconds)
            resident = memory(cluster.master.pid)
            if len(starts) < 3:
                cluster.stop_master()
        result = {
            "finished": settings.history, "start_seconds": min(starts), "resident": resident,
            "database": os.path.getsize(f"{cluster.master_dir}/capstan.db"),
            "jobs_seconds": _median_call(cluster, "jobs"),
            "failed_seconds": _median_call(cluster, "tasks", str(job), "--state", "failed"),
            "status_seconds": _median_call(cluster, "status"),
            "empty_tasks_per_second": _median(empty), "tasks_per_second": _median(loaded),
            "of_an_empty_one": _median([a / b for a, b in zip(loaded, empty)])}
        cluster.add_worker("w2", 2)  # The first one looks for the master at its old port.
        beside = [_rate_of_an_empty_one(settings)]
        deleting, deleted = _while_deleting(cluster, settings)
    beside.append(_rate_of_an_empty_one(settings))
    result.update({"deleting_tasks_per_second": deleting, "deleted_rows_per_second": deleted,
                   "deleting_of_an_empty_one": deleting / (sum(beside) / len(beside))})
    with settings.cluster(workers=0) as cluster:
        result["empty_resident"] = memory(cluster.master.pid)
    return result


# --- 6: pictures --------------------------------------------------------------------------------

BATCH = 25


class Pictures:
    """The same batches of the same pictures by three programs; one thread in each process."""

    def __init__(self, settings, root):
        self.base = tempfile.mkdtemp(prefix="pictures-", dir=settings.base)
        self.env = dict(os.environ, VIPS_CONCURRENCY="1")
        nature = os.path.join(root, "build/pictures/usr/share/backgrounds/mate/nature")
        photographs = sorted(name for name in os.listdir(nature) if name.endswith(".jpg"))
        self.list = os.path.join(self.base, "list")
        with open(self.list, "w", encoding="utf-8") as listed:
            for number in range(settings.pictures):
                photograph = photographs[number % len(photographs)]
                path = f"{self.base}/{number:04d}.jpg"
                os.symlink(os.path.join(nature, photograph), path)
                listed.write(path + "\n")
        self.count = settings.pictures

    def command(self, name):
        out = os.path.join(self.base, name)
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        return out, ["vipsthumbnail", "--size", "320x", "-o", f"{out}/%s.jpg"]

    def timed(self, name, argv_of, **options):
        out, command = self.command(name)
        began = time.monotonic()
        argv_of(command, **options)
        seconds = time.monotonic() - began
        made = len(os.listdir(out))
        if made != self.count:
            raise BenchError(f"{name} made {made} of {self.count} thumbnails")
        return seconds

    def xargs(self, command):
        with open(self.list, "rb") as listed:
            subprocess.run(["xargs", "-P2", f"-n{BATCH}", *command], stdin=listed, check=True,
                           env=self.env, stdout=subprocess.DEVNULL)

    def parallel(self, command):
        with open(self.list, "rb") as listed:
            subprocess.run(["parallel", "-j2", f"-N{BATCH}", *command], stdin=listed, check=True,
                           env=parallel_environment(os.path.dirname(self.base), self.env),
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def capstan(self, command, cluster):
        cluster.capstan("submit", "--quiet", "--wait", "--batch", str(BATCH), "--env",
                        "VIPS_CONCURRENCY=1", "--each-line", self.list, "--", *command)


def pictures(settings, root):
    work = Pictures(settings, root)
    seconds = {"xargs": [], "capstan": [], "parallel": []}
    try:
        with settings.cluster(workers=1, cpus=2, null=False) as cluster:
            work.timed("warm", work.xargs)
            for _ in range(settings.runs):
                seconds["xargs"].append(work.timed("xargs", work.xargs))
                seconds["capstan"].append(work.timed("capstan", work.capstan, cluster=cluster))
                if shutil.which("parallel"):
                    seconds["parallel"].append(work.timed("parallel", work.parallel))
    finally:
        shutil.rmtree(work.base, ignore_errors=True)
    return {"pictures": work.count, "batch": BATCH,
            "seconds": {name: _median(took) for name, took in seconds.items() if took}}


# --- 7: doing nothing ---------------------------------------------------------------------------


def _proportional(pid):
    """Memory with what is shared counted by the share: the sum over processes makes sense."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def idle(settings):
    with settings.cluster(workers=1, cpus=2, null=False) as cluster:
        cluster.capstan("run", "--", "true")
        time.sleep(2)
        groups = {"master": [cluster.master.pid], "worker": cluster.pids()[1:]}
        before = {name: sum(map(cpu_seconds, pids)) for name, pids in groups.items()}
        time.sleep(settings.idle_seconds)
        return {name: {
            "resident": sum(map(memory, pids)), "proportional": sum(map(_proportional, pids)),
            "core_percent": (sum(map(cpu_seconds, pids)) - before[name]) /
            settings.idle_seconds * 100} for name, pids in groups.items()}
