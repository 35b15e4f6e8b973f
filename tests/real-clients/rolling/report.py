"""Figures out of the operations and the restarts: percentiles, the worst moments, one JSON file, one picture. Pure but for the files."""

import json
import math

COLOURS = {"redis-py": "#2f6fb0", "ioredis": "#c8553d", "go-redis": "#3c8d5a"}
# The width of a point of the picture.
BIN_MS = 100


class Restart:
    """One process that was ended and came back, with the moments in microseconds of the wall clock."""

    def __init__(self, port, part):
        self.port, self.part, self.moments, self.trouble = port, part, {}, None

    def since(self, name):
        """Milliseconds from the signal to this moment; nothing if it never came."""
        at, begin = self.moments.get(name), self.moments.get("told to end")
        return None if at is None or begin is None else (at - begin) / 1000

    def covers(self, operation):
        """Whether an operation ran between the signal and the moment when all was whole again."""
        begin, end = self.moments.get("told to end"), self.moments.get("whole", math.inf)
        return begin is not None and operation.ended >= begin and operation.started <= end

    def json(self):
        ms = {name: self.since(name) for name in ("new process", "whole")}
        return {"port": self.port, "part": self.part, "at_us": self.moments.get("told to end"), "ms": ms, "trouble": self.trouble}


def percentile(sorted_values, share):
    """The nearest rank; 0 of nothing."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(len(sorted_values) - 1, math.ceil(share * len(sorted_values)) - 1)]


def figures(milliseconds):
    ordered = sorted(milliseconds)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "worst": 1.0}
    return {name: round(percentile(ordered, share), 3) for name, share in shares.items()}


def where(operation, restarts, begin):
    """When a call began, and what was being restarted: `at 12.34 s, 20 ms after the signal to 7001 (primary of shard 2)`."""
    at = f"at {(operation.started - begin) / 1e6:.2f} s"
    covering = [restart for restart in restarts if restart.covers(operation)]
    if not covering:
        return f"{at}, nothing was being restarted"
    # A call that outlasts one restart was held up by it, not by the next.
    restart = covering[0]
    ms = (operation.started - restart.moments["told to end"]) / 1000
    when = f"{ms:.0f} ms after" if ms >= 0 else f"{-ms:.0f} ms before"
    return f"{at}, {when} the signal to {restart.port} ({restart.part})"


def worst_within(operations, restart):
    """The longest call while this process was being restarted, in milliseconds."""
    return max((operation.took_ms for operation in operations if restart.covers(operation)), default=0.0)


def save(path, head, clients, restarts):
    rows = {name: {**row, "worst_by_restart_ms": worsts} for name, row, worsts in clients}
    text = json.dumps({**head, "clients": rows, "restarts": [restart.json() for restart in restarts]}, indent=1)
    path.write_text(text + "\n")


def picture(path, title, records, restarts, begin, end):
    """The longest of the calls that began in every 100 ms, of each client, on a logarithmic scale, restarts as bands behind."""
    width, height, left, top, bottom = 1200, 420, 72, 80, 40
    span = max(1, end - begin)
    low, high = -1, 4  # 0.1 ms to 10 s

    def x(at):
        return left + (width - left - 20) * min(1, max(0, (at - begin) / span))

    def y(ms):
        share = (min(high, max(low, math.log10(max(ms, 1e-3)))) - low) / (high - low)
        return height - bottom - (height - top - bottom) * share

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">']
    parts += ['<rect width="100%" height="100%" fill="white"/>', f'<text x="{left}" y="16" font-size="14">{title}</text>']
    for restart in restarts:
        start = restart.moments.get("told to end")
        if start is None:
            continue
        a, b = x(start), x(restart.moments.get("whole", end))
        colour = "#eee3c8" if "meta" in restart.part else "#dfe6ee"
        parts.append(f'<rect x="{a:.1f}" y="{top}" width="{max(1, b - a):.1f}" height="{height - top - bottom}" fill="{colour}"/>')
        parts.append(f'<text x="{a + 2:.1f}" y="{top - 4}" transform="rotate(-20 {a + 2:.1f} {top - 4})" font-size="9">{restart.port} {restart.part}</text>')
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{at:.1f}" y2="{at:.1f}" stroke="#bbb" stroke-width="0.5"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:g} ms</text>')
    step = max(1, round(span / 1e6 / 15))
    for second in range(0, int(span / 1e6) + 1, step):
        parts.append(f'<text x="{x(begin + second * 1e6):.1f}" y="{height - bottom + 16}" text-anchor="middle">{second} s</text>')
    for at, (name, operations) in enumerate(records.items()):
        parts += points(operations, begin, x, y, COLOURS[name])
        parts.append(f'<circle cx="{left + 110 * at + 6}" cy="{height - 8}" r="4" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{left + 110 * at + 14}" y="{height - 4}">{name}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def points(operations, begin, x, y, colour):
    worst = {}
    for operation in operations:
        at = (operation.started - begin) // (BIN_MS * 1000)
        worst[at] = max(worst.get(at, operation), operation, key=lambda one: (one.status == "error", one.took_ms))
    for operation in worst.values():
        bad = operation.status == "error"
        mark = f'fill="{colour}" fill-opacity="0.6"' if not bad else 'fill="red"'
        yield f'<circle cx="{x(operation.started):.1f}" cy="{y(operation.took_ms):.1f}" r="{3 if bad else 1.6}" {mark}/>'
