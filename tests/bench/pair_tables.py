# SPDX-License-Identifier: MIT
"""What scripts/bench --cluster prints: one table for each figure, aims beside them."""

from tables import ms, table


def _seconds(value):
    return f"{value:.2f} s"


def _met(found, aim):
    return "" if found <= aim else "missed"


def _fault_row(row):
    median, worst = row["aims"]
    met = _met(row["median"], median) or _met(row["worst"], worst)
    return [row["name"], row["rounds"], _seconds(row["median"]), _seconds(row["worst"]),
            f"{median} / {worst} s", met, _seconds(row["back"])]


def _rejoined(faults):
    """How often a node that was away got in sync while the client went on."""
    return f"{sum(each['under_load'] for each in faults)} of {sum(e['rounds'] for e in faults)}"


def failovers(figure):
    rows = [_fault_row(row) for row in figure["rows"]]
    return (f"  seconds without an answer, one real task after another "
            f"({ms(figure['calm'])} each when all is well)\n" +
            table(["", "rounds", "median", "worst", "aim: median / worst", "",
                   "worst when it comes back"], rows))


def in_sync(figure):
    null, real = figure["null"], figure["real"]
    cpu = null["primary_us"]
    rows = [[f"null tasks/s ({null['tasks']:,})", f"{null['lone']:,.0f}", f"{null['pair']:,.0f}",
             f"{null['ratio']:.2f}", "0.55"],
            ["primary's processor time a task", f"{cpu['lone']:.2f} us", f"{cpu['pair']:.2f} us",
             f"{cpu['ratio']:.2f}", "1.30"],
            ["lag at the end, entries", "", f"{null['lag']}", "", "4096 (a batch)"],
            [f"real tasks/s ({real['tasks']:,})", f"{real['lone']:,.0f}", f"{real['pair']:,.0f}",
             f"{real['ratio']:.2f}", "0.95"]]
    return ("  1 worker of 2 cpus; all processes of both masters on the same cpus\n" +
            table(["", "a lone master", "with a standby", "ratio", "aim"], rows))


def catch_up(figure):
    rows = [["until in sync (10 s of it to prove itself)", _seconds(figure["seconds"]), ""],
            ["null tasks/s of the leader, alone before", f"{figure['alone']:,.0f}", ""],
            ["… meanwhile", f"{figure['meanwhile']:,.0f}", ""],
            ["… ratio", f"{figure['ratio']:.2f}", "0.70"]]
    return (f"  an empty standby, {figure['history']:,} tasks in the database, and jobs of "
            f"{figure['piece']:,} meanwhile\n" + table(["", "", "aim"], rows))


def crowd(figure):
    rows = []
    for row in figure["rows"]:
        rows.append([f"{row['workers']:,}", _seconds(row["median"]), _seconds(row["worst"]),
                     _seconds(row["sessions"]["last"]), f"{row['sessions']['busiest']:.0f}",
                     _seconds(row["links"]["spread"]), f"{row['links']['busiest']:.0f}"])
    return ("  primary killed (-9), started again; seconds without an answer "
            "(aim: no growth but the reconnects, which are spread)\n" +
            table(["workers", "median", "worst", "last one's session", "most in 0.1 s",
                   "reconnects spread over", "most in 0.1 s"], rows))


def distances(figure):
    rows = []
    for row in figure["rows"]:
        killed, cut_off, planned = (each["median"] for each in row["faults"])
        rows.append([f"{row['wanted_ms']} ms ({row['round_trip'] * 1e3:.2f})",
                     f"{row['submit'] * 1e3:.1f} ms", f"{row['result'] * 1e3:.1f} ms",
                     f"{row['tasks_per_second']:,.0f}", _seconds(killed), _seconds(cut_off),
                     _seconds(planned), _rejoined(row["faults"]),
                     f"{row['false_failovers']} in {row['calm_seconds']} s",
                     _seconds(row["calm_gap"])])
    return ("  null tasks, 1 worker of 2 cpus; client, worker and witness near both masters "
            "(aim: no false failover)\n" +
            table(["between the masters", "submit", "to the result", "tasks/s", "killed",
                   "cut off", "planned", "in sync again under load", "false failovers",
                   "longest pause then"], rows))


FIGURES = {1: failovers, 2: in_sync, 3: catch_up, 4: crowd, 5: distances}
