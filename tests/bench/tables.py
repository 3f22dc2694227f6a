# SPDX-License-Identifier: MIT
"""What scripts/bench prints: one table for each figure, aims beside them."""

MIB = 1 << 20


def table(heads, rows):
    cells = [heads, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]

    def line(row):
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "  " + "  ".join([first, *rest]).rstrip()
    return "\n".join(line(row) for row in cells)


def _mib(size):
    return f"{size / MIB:.1f} MiB"


def ms(seconds):
    return f"{seconds * 1e3:.0f} ms"


def head(measured):
    where = measured["machine"]
    found = "".join(f"{name} {number}, " for name, number in measured["peers"].items())
    return (f"{where['cpus']} x {where['cpu']}, {where['memory'] / (1 << 30):.0f} GiB, "
            f"{where['system']}, Linux {where['kernel']}, {where['disk']} "
            f"(fdatasync {measured['fsync_us']:.0f} us)\n{found}"
            f"medians of {measured['runs']}"
            f"{', --quick' if measured['quick'] else ''}. Capstan: encrypted, fsync before each "
            "acknowledgement, a row for each task.")


def real_tasks(figure):
    by_name = {row["name"]: row for row in figure["rows"]}
    xargs = by_name.get("xargs -P2 -n1")
    rows = [[row["name"], f"{row['tasks_per_second']:,.0f}", f"{row['of_the_limit']:.2f}",
             f"{row['tasks_per_second'] / xargs['tasks_per_second']:.2f}" if xargs else "-",
             row["note"]] for row in figure["rows"]]
    return (f"  {figure['tasks']:,} x /bin/true, real, 1 worker of 2 cpus "
            "(aim: 0.90 of the limit, 1.20 x xargs, ahead of all)\n" +
            table(["", "tasks/s", "of the limit", "x xargs", "keeps"], rows))


def scheduler_alone(figure):
    rows = []
    for row in figure["rows"]:
        cpu = row["cpu_us"]
        rows.append([f"{row['workers']} x {row['cpus']} cpus", f"{row['tasks']:,}",
                     f"{row['tasks_per_second']:,.0f}", f"{row['best']:,.0f}",
                     f"{row['cpu_us_all']:.2f}", f"{cpu['master']:.2f}", f"{cpu['shepherds']:.2f}",
                     f"{cpu['agents']:.2f}", f"{cpu['client']:.2f}",
                     _mib(row["master_resident"])])
    return ("  null tasks, fsync, encrypted, sums checked in SQL "
            "(aim: 200,000 tasks/s, 5 us of processor time a task)\n" +
            table(["workers", "tasks", "tasks/s", "best", "us a task", "master", "shepherds",
                   "agents", "client", "master's memory"], rows))


def large_jobs(figure):
    rows = [[f"{row['tasks']:,}", ms(row["submit_seconds"]), _mib(row["empty"]),
             _mib(row["queued"]), _mib(row["after_all_ran"]), _mib(row["half_done"]),
             _mib(row["half_done_restarted"]), ms(row["restart_seconds"])]
            for row in figure["arrays"]]
    inputs = figure["inputs"]
    return ("  arrays; `half done`: in random order, 5 % failed "
            "(aim: 1,000,000 in 50 ms, 64 MiB; 10,000,000 no worse than linear)\n" +
            table(["tasks", "submit", "master empty", "queued", "all ran", "half done",
                   "half done, restarted", "restart"], rows) +
            f"\n  {inputs['inputs']:,} inputs of {inputs['bytes']} bytes: "
            f"{inputs['submit_seconds']:.2f} s, master +{_mib(inputs['grew'])}, at its peak "
            f"+{_mib(inputs['peak_grew'])} (aim for 1,000,000: 5 s, 64 MiB)")


def latency(figure):
    rows = [["capstan run -- true, a process (aim: p50 10 ms)",
             *[f"{figure['process'][p]:.1f} ms" for p in ("p50_ms", "p99_ms")]],
            ["submit to result, one connected client (aim: p50 3 ms)",
             *[f"{figure['client'][p]:.1f} ms" for p in ("p50_ms", "p99_ms")]]]
    return table(["real, 1 worker of 2 cpus", "p50", "p99"], rows)


def history(figure):
    rows = [["start, warm", f"{figure['start_seconds']:.2f} s", "2 s"],
            ["memory", _mib(figure["resident"]), f"{_mib(figure['empty_resident'] + 16 * MIB)}"],
            ["jobs", ms(figure["jobs_seconds"]), "100 ms"],
            ["tasks ID --state failed", ms(figure["failed_seconds"]), "100 ms"],
            ["status", ms(figure["status_seconds"]), "100 ms"],
            ["null tasks/s, of an empty one's", f"{figure['of_an_empty_one']:.2f}", "0.90"],
            [f"the same while {figure['deleted_rows_per_second']:,.0f} rows/s are deleted",
             f"{figure['deleting_of_an_empty_one']:.2f}", "0.90 at 20,000"]]
    return (f"  {figure['finished']:,} finished tasks, {figure['database'] / (1 << 30):.2f} GiB\n" +
            table(["", "", "aim"], rows))


def pictures(figure):
    took = figure["seconds"]
    rows = [[name, f"{seconds:.2f} s", f"{seconds / took['xargs']:.3f}"]
            for name, seconds in took.items()]
    return (f"  {figure['pictures']} thumbnails by vipsthumbnail, {figure['batch']} a process, two "
            "at a time (aim: 1.05 of xargs' time)\n" + table(["", "", "of xargs"], rows))


def idle(figure):
    rows = [[name, _mib(group["resident"]), _mib(group["proportional"]),
             f"{group['core_percent']:.2f} %"] for name, group in figure.items()]
    return ("  (aim: worker 15 MiB and 0.1 % of a core, master 30 MiB)\n" +
            table(["", "resident", "without what is shared", "of a core"], rows))


FIGURES = {1: real_tasks, 2: scheduler_alone, 3: large_jobs, 4: latency, 5: history, 6: pictures,
           7: idle}
