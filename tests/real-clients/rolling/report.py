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


class Frame:
    """Where a moment and a duration lie in the picture: milliseconds on a logarithmic scale from 0.1 to 10,000."""

    WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1200, 440, 72, 20, 100, 44
    LOW, HIGH = -1, 4

    def __init__(self, begin, end):
        self.begin, self.span = begin, max(1, end - begin)

    def x(self, at):
        return self.LEFT + (self.WIDTH - self.LEFT - self.RIGHT) * min(1, max(0, (at - self.begin) / self.span))

    def y(self, ms):
        power = min(self.HIGH, max(self.LOW, math.log10(max(ms, 1e-3))))
        return self.HEIGHT - self.BOTTOM - (self.HEIGHT - self.TOP - self.BOTTOM) * (power - self.LOW) / (self.HIGH - self.LOW)


def picture(path, title, records, restarts, begin, end):
    """The longest of the calls that began in every 100 ms, of each client; restarts as bands behind them."""
    frame = Frame(begin, end)
    size = f'width="{frame.WIDTH}" height="{frame.HEIGHT}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">']
    parts += ['<rect width="100%" height="100%" fill="white"/>', text(frame.LEFT, 18, title, 'font-size="14"')]
    parts += [*bands(frame, restarts, end), *axes(frame)]
    for at, (name, operations) in enumerate(records.items()):
        parts += points(frame, operations, COLOURS[name])
        parts += legend(frame.LEFT + 110 * at, frame.HEIGHT - 8, name, COLOURS[name])
    parts.append(text(frame.LEFT + 340, frame.HEIGHT - 4, "a cross is a call that ended in an error"))
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{words}</text>'


def legend(x, y, words, colour):
    return [f'<circle cx="{x + 6}" cy="{y}" r="4" fill="{colour}"/>', text(x + 14, y + 4, words)]


def bands(frame, restarts, end):
    label = 0.0
    for at, restart in enumerate(restart for restart in restarts if "told to end" in restart.moments):
        a, b = frame.x(restart.moments["told to end"]), frame.x(restart.moments.get("whole", end))
        meta, odd = "meta" in restart.part, at % 2
        colour = ("#f3ead6", "#eadcbb")[odd] if meta else ("#e6ecf3", "#d5dfea")[odd]
        place = f'x="{a:.1f}" y="{frame.TOP}" width="{max(1, b - a):.1f}" height="{frame.HEIGHT - frame.TOP - frame.BOTTOM}"'
        yield f'<rect {place} fill="{colour}"/>'
        # Short restarts stand close together; their names must not.
        label = max(a + 2, label + 12)
        yield text(label, frame.TOP - 4, f"{restart.port} {restart.part}", f'transform="rotate(-35 {label:.1f} {frame.TOP - 4})" font-size="9"')


def axes(frame):
    for power in range(frame.LOW, frame.HIGH + 1):
        at = frame.y(10**power)
        yield f'<line x1="{frame.LEFT}" x2="{frame.WIDTH - frame.RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#bbb" stroke-width="0.5"/>'
        yield text(frame.LEFT - 6, at + 4, f"{10**power:,g} ms", 'text-anchor="end"')
    seconds = frame.span / 1e6
    for second in range(0, int(seconds) + 1, max(1, round(seconds / 15))):
        yield text(frame.x(frame.begin + second * 1e6), frame.HEIGHT - frame.BOTTOM + 14, f"{second} s", 'text-anchor="middle"')


def points(frame, operations, colour):
    worst = {}
    for operation in operations:
        at = (operation.started - frame.begin) // (BIN_MS * 1000)
        worst[at] = max(worst.get(at, operation), operation, key=lambda one: (one.status == "error", one.took_ms))
    for operation in worst.values():
        x, y = frame.x(operation.started), frame.y(operation.took_ms)
        if operation.status == "error":
            yield f'<path d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6" stroke="{colour}" stroke-width="1.5"/>'
        else:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6" fill="{colour}" fill-opacity="0.7"/>'
