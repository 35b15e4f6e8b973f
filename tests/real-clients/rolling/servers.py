"""What both kinds of cluster share: free ports, conditions that are waited for, processes that are ended by their id."""

import os
import random
import signal
import socket
import time

# Between two looks at a condition.
LOOK_EVERY_S = 0.05
# A process that was asked to end and does not is killed after this.
STOP_LIMIT_S = 30


class Timeout(Exception):
    """A condition did not come true in time."""


class Trouble(Exception):
    """A cluster that cannot be started or asked."""


def wait_for(what, limit_s, condition, alive=lambda: None):
    """Returns once the condition is true. `alive` raises when waiting has become pointless."""
    end = time.monotonic() + limit_s
    while not condition():
        alive()
        if time.monotonic() > end:
            raise Timeout(f"not within {limit_s} s: {what}")
        time.sleep(LOOK_EVERY_S)


def free_base(offsets, chance=random):
    """A port so that it and all at these offsets are free; client ports stay below 22768, peers' below the ephemeral ones."""
    for base in chance.sample(range(11_000, 22_600, 10), 200):
        if all(is_free(base + offset) for offset in offsets):
            return base
    raise Trouble("no free ports between 11000 and 22700")


def is_free(port):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def end(process, name):
    """Ends a child of ours; says so if it had to be killed."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except Exception:
        print(f"{name} does not end: killed", flush=True)
        process.kill()
        process.wait()


def tell(pid, how):
    """Sends a signal to one process; one that is gone already is a fault of the run, so it is not hidden."""
    os.kill(pid, getattr(signal, f"SIG{how}"))
