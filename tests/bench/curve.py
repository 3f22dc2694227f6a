# SPDX-License-Identifier: MIT
"""The cost curve as a picture: tasks/s by the number of queued tasks, on two logarithmic axes."""

import math

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 30, 50
COLOURS = ("#1b6ca8", "#c8553d", "#4a7c59")


def _scale(low, high, begin, end):
    low, high = math.log10(low), math.log10(high)
    return lambda value: begin + (math.log10(value) - low) / (high - low) * (end - begin)


def _label(value):
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value // size}{unit}"
    return str(value)


def _text(x, y, text, anchor="middle", size=12, colour="#333"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}">{text}</text>')


def svg(rows, note):
    """`rows`: workers, cpus, tasks, tasks_per_second."""
    counts = sorted({row["tasks"] for row in rows})
    rates = [row["tasks_per_second"] for row in rows]
    low = 10 ** math.floor(math.log10(min(rates)))
    high = 10 ** math.ceil(math.log10(max(rates)))
    x_of = _scale(counts[0], counts[-1], LEFT, WIDTH - RIGHT)
    y_of = _scale(low, high, HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for decade in range(round(math.log10(low)), round(math.log10(high)) + 1):
        for step in (1, 2, 5):
            value = step * 10 ** decade
            if value > high:
                continue
            y = y_of(value)
            out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" '
                       'stroke="#ddd"/>')
            out.append(_text(LEFT - 8, y + 4, _label(value), "end"))
    for count in counts:
        out.append(_text(x_of(count), HEIGHT - BOTTOM + 18, _label(count)))
    out.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "tasks queued at once"))
    out.append(_text(LEFT, TOP - 12, "tasks/s", "start"))
    out.append(_text(WIDTH - 8, TOP - 12, note, "end", 10, "#777"))
    shapes = sorted({(row["workers"], row["cpus"]) for row in rows})
    for shape, colour in zip(shapes, COLOURS):
        points = sorted((row["tasks"], row["tasks_per_second"]) for row in rows
                        if (row["workers"], row["cpus"]) == shape)
        path = " ".join(f"{x_of(tasks):.1f},{y_of(rate):.1f}" for tasks, rate in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for tasks, rate in points:
            out.append(f'<circle cx="{x_of(tasks):.1f}" cy="{y_of(rate):.1f}" r="3" '
                       f'fill="{colour}"/>')
        workers, cpus = shape
        name = f"{workers} worker{'s' if workers > 1 else ''} of {cpus}"
        out.append(_text(x_of(points[-1][0]) + 8, y_of(points[-1][1]) + 4, name, "start", 12,
                         colour))
    out.append("</svg>")
    return "\n".join(out) + "\n"
