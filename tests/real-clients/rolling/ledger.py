"""What a load did, line by line, and what that says about the store: errors, writes that were lost, writes done twice.

Each key belongs to one worker, which waits for a reply before it goes on. So what a key must hold is known after each
reply, and every later reply and the value at the end are held against it. Pure: lines and values in, a verdict out.

A command that ended in an error may have been executed or not, and both are allowed for. A client library that repeats a
command whose connection broke may have it executed twice; the application cannot tell, so that is counted, not failed.
"""

from dataclasses import dataclass, field

# How many errors and losses a verdict tells of in words; it counts all of them.
TOLD_MAX = 10


@dataclass(frozen=True)
class Operation:
    """One call that the application made; times in microseconds of the wall clock."""

    kind: str
    key: str
    argument: str
    due: int
    started: int
    ended: int
    status: str
    reply: str

    @property
    def took_ms(self):
        return (self.ended - self.started) / 1000

    @property
    def late_ms(self):
        """From when it should have begun: a stall also delays the operations behind it."""
        return (self.ended - self.due) / 1000


def read(lines):
    """The operations of a record, in the order in which they ended."""
    operations = []
    for line in lines:
        kind, key, argument, due, started, ended, status, reply = line.rstrip("\n").split("\t")
        operations.append(Operation(kind, key, argument, int(due), int(started), int(ended), status, reply))
    return operations


@dataclass
class Verdict:
    operations: int = 0
    writes: int = 0
    errors: int = 0
    lost: int = 0
    twice: int = 0
    told: list = field(default_factory=list)

    def tell(self, line):
        if len(self.told) < TOLD_MAX:
            self.told.append(line)


class Counter:
    """A key that is only incremented: it never goes back, and grows by one for each call."""

    def __init__(self):
        self.value = 0
        # Increments that ended in an error since the value was last seen.
        self.unknown = 0

    def failed(self, _argument):
        self.unknown += 1

    def seen(self, verdict, key, value, calls):
        """The key has this value, after so many acknowledged calls since it was last seen."""
        least = self.value + calls
        if value < least:
            verdict.lost += least - value
            verdict.tell(f"lost: {key} is {value}, not at least {least}")
        else:
            verdict.twice += max(0, value - least - self.unknown)
        self.value, self.unknown = value, 0


class Register:
    """A key that is only set, each time to another value: it holds the newest one."""

    def __init__(self):
        self.allowed = {None}
        self.newest = None

    def failed(self, argument):
        self.allowed.add(argument)

    def wrote(self, argument):
        self.allowed, self.newest = {argument}, argument

    def seen(self, verdict, key, value):
        if value not in self.allowed:
            verdict.lost += 1
            verdict.tell(f"lost: {key} is {value!r}, not {self.newest!r}")
        self.allowed, self.newest = {value}, value


def judge(operations, final):
    """Goes through a record and then through the values at the end (`final`: a function from key to text or None)."""
    verdict, counters, registers = Verdict(), {}, {}
    for operation in operations:
        step(verdict, counters, registers, operation)
    for key, counter in counters.items():
        counter.seen(verdict, key, number(final(key)), 0)
    for key, register in registers.items():
        register.seen(verdict, key, final(key))
    return verdict


def step(verdict, counters, registers, operation):
    verdict.operations += 1
    key, kind = operation.key, operation.kind
    counts = ":counter:" in key
    cell = counters.setdefault(key, Counter()) if counts else registers.setdefault(key, Register())
    if kind != "get":
        verdict.writes += 1
    if operation.status == "error":
        verdict.errors += 1
        verdict.tell(f"error: {kind} {key} after {operation.took_ms:.0f} ms: {operation.reply}")
        if kind != "get":
            cell.failed(operation.argument)
        return
    value = None if operation.status == "nil" else operation.reply
    if counts:
        cell.seen(verdict, key, number(value), 1 if kind == "incr" else 0)
    elif kind == "set":
        cell.wrote(operation.argument)
    else:
        cell.seen(verdict, key, value)


def number(value):
    """A counter that is not there counts as 0, as INCR has it."""
    return 0 if value is None else int(value)
