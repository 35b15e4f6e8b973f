"""redis-py's RedisCluster under a steady load, one client shared by threads, nothing configured but the addresses.

usage: load.py HOST:PORT,... OPERATIONS_A_SECOND WORKERS KEYS SEED RECORD   (see ../loads.py for what is expected)
"""

import random
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

NAME = "redis-py"


class Worker(threading.Thread):
    """Owns every WORKERS-th key, so that what one key should hold is known without asking another thread."""

    def __init__(self, client, number, workers, interval, keys, seed, stop, record):
        super().__init__()
        self.client, self.number, self.interval, self.stop, self.record = client, number, interval, stop, record
        self.keys = range(number, keys, workers)
        self.chance = random.Random(f"{seed}/{number}")
        self.written = 0

    def run(self):
        due = time.monotonic() + self.interval * self.chance.random()
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            self.one(due)
            due += self.interval

    def one(self, due):
        chance, at = self.chance.random(), self.chance.choice(self.keys)
        kind, of, argument = "get", "register" if chance < 0.9 else "counter", ""
        if chance < 0.4:
            kind, of = "incr", "counter"
        elif chance < 0.8:
            self.written += 1
            kind, argument = "set", f"{self.number}.{self.written}"
        key = f"{NAME}:{of}:{at}"
        started = time.monotonic()
        try:
            status, reply = self.call(kind, key, argument)
        except Exception as error:  # whatever the application would see
            status, reply = "error", " ".join(f"{type(error).__name__}: {error}".split())
        self.record(kind, key, argument, due, started, time.monotonic(), status, reply)

    def call(self, kind, key, argument):
        if kind == "incr":
            return "ok", self.client.incr(key)
        if kind == "set":
            return "ok", self.client.set(key, argument)
        value = self.client.get(key)
        return ("nil", "") if value is None else ("ok", value.decode())


def main():
    addresses, rate, workers, keys, seed, path = sys.argv[1:]
    nodes = [address.rsplit(":", 1) for address in addresses.split(",")]
    client = RedisCluster(startup_nodes=[ClusterNode(host, int(port)) for host, port in nodes])
    wall = time.time() - time.monotonic()
    stop, lock = threading.Event(), threading.Lock()
    with open(path, "w", encoding="utf-8") as lines:

        def record(kind, key, argument, due, started, ended, status, reply):
            times = [str(int((wall + at) * 1e6)) for at in (due, started, ended)]
            with lock:
                lines.write("\t".join([kind, key, argument, *times, status, str(reply)]) + "\n")

        interval = int(workers) / float(rate)
        loops = [
            Worker(client, number, int(workers), interval, int(keys), seed, stop, record)
            for number in range(int(workers))
        ]
        print(f"ready {redis.__version__}", flush=True)
        for loop in loops:
            loop.start()
        sys.stdin.read()
        stop.set()
        for loop in loops:
            loop.join()


main()
