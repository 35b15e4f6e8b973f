"""The three client programs: installed by package name, started, ended, their records read.

A program is called with: HOST:PORT,... OPERATIONS_A_SECOND WORKERS KEYS SEED RECORD. It connects with what its library
has as defaults, says `ready VERSION` and then runs WORKERS loops that share one client: 40 % INCR and 40 % SET over KEYS
counters and KEYS registers, 20 % GET of either. When an operation is due does not depend on how long the one before
took. Each operation is a line of RECORD, tab-separated: kind, key, argument, due, started, ended (microseconds of the
wall clock), `ok`, `nil` or `error`, reply or text of the error. When its standard input closes, it finishes what runs
and ends with 0.

What the libraries do by default says how a restart must look to be unnoticed (from the sources of the pinned versions):

| | broken or refused connection | MOVED | TRYAGAIN | CLUSTERDOWN |
| --- | --- | --- | --- | --- |
| redis-py | reads the slots anew, 10 retries without a pause | at once, 16 in all | 8 at once, 8 after 50 ms | 10 retries, 250 ms apart |
| ioredis | after 100 ms, 16 in all | at once | after 100 ms | after 100 ms |
| go-redis | 5 dials, 100 ms apart; then a retry, the first of them at the same node | at once | a retry | a retry |

go-redis has 3 retries for all of these together, after 10 to 30, 10 to 50, 10 to 90 ms, and reads the slots anew only when
it was sent elsewhere, at most every 200 ms, or after a minute. So a process should send its clients elsewhere for a while
before it ends; every other node must name the successor by then; and whoever is named serves or holds, never sends back.

Versions stand where the other checks of real clients have them: redis-py/, ioredis/, go-redis/ one folder up.
"""

import os
import shutil
import subprocess

NAMES = ["redis-py", "ioredis", "go-redis"]
# How long a client may take to connect, and to finish after its input closed: longer than any retry by default.
READY_LIMIT_S = 30
END_LIMIT_S = 60


class Trouble(Exception):
    """Something that must be there is not, or does not work."""


def need(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Trouble(f"{', '.join(missing)} is missing")


def quietly(command, log, **more):
    """Runs what is quiet when it works and tells all when it does not."""
    with open(log, "wb") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **more)
    if done.returncode != 0:
        raise Trouble(f"`{' '.join(map(str, command))}` failed: {log.read_text(errors='replace')[-2000:]}")


def fresh(work, *sources):
    """A folder where things may be written, with copies of these files."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for source in sources:
        shutil.copy(source, work)


def install_redis_py(here, work):
    need("python3")
    # The one that the other check of redis-py uses.
    venv = work.parent / "redis-py-venv"
    if not (venv / "bin/python").exists():
        quietly(["python3", "-m", "venv", venv], work / "redis-py.log")
    requirements = here.parent / "redis-py/requirements.txt"
    pip = [venv / "bin/pip", "install", "--disable-pip-version-check", "-r", requirements]
    quietly(pip, work / "redis-py.log")
    return [venv / "bin/python", "-B", here / "redis-py/load.py"]


def install_ioredis(here, work):
    need("node", "npm")
    manifest = here.parent / "ioredis"
    folder = work / "ioredis"
    fresh(folder, manifest / "package.json", manifest / "package-lock.json", here / "ioredis/load.mjs")
    quietly(["npm", "ci", "--no-audit", "--no-fund"], work / "ioredis.log", cwd=folder)
    return ["node", folder / "load.mjs"]


def install_go_redis(here, work):
    need("go")
    manifest = here.parent / "go-redis"
    folder = work / "go-redis"
    fresh(folder, manifest / "go.mod", manifest / "go.sum", here / "go-redis/main.go")
    quietly(["go", "build", "-o", "load", "."], work / "go-redis.log", cwd=folder)
    return [folder / "load"]


INSTALL = {"redis-py": install_redis_py, "ioredis": install_ioredis, "go-redis": install_go_redis}


class Load:
    """A running client program."""

    def __init__(self, name, command, addresses, shape, out):
        self.name, self.version = name, ""
        self.record, self.log = out / f"{name}.tsv", out / f"{name}.log"
        self.record.unlink(missing_ok=True)
        words = [",".join(addresses), shape.rate, shape.workers, shape.keys, shape.seed, self.record]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def await_ready(self, wait):
        os.set_blocking(self.process.stdout.fileno(), False)
        said = b""

        def ready():
            nonlocal said
            said += self.process.stdout.read() or b""
            return said.endswith(b"\n") or self.process.poll() is not None

        wait(f"{self.name} connects", READY_LIMIT_S, ready)
        if not said.startswith(b"ready "):
            raise Trouble(f"{self.name} did not start: {self.log.read_text(errors='replace')[-2000:]}")
        self.version = said.decode().split()[1]

    def runs(self):
        return self.process.poll() is None

    def close(self):
        """Tells it to end."""
        self.process.stdin.close()

    def await_end(self):
        """How it ended: nothing when as it should."""
        try:
            code = self.process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"it did not end within {END_LIMIT_S} s"
        return None if code == 0 else f"it ended with {code}: {self.log.read_text(errors='replace')[-500:]}"

    def kill(self):
        if self.runs():
            self.process.kill()
            self.process.wait()
