"""Debian's redis-server as a cluster of as many primaries and replicas, for comparison: its defaults, SIGTERM, started again at once.

Redis' own save points stay, so a server that is told to end writes its data to disk and has it when it is back.
"""

import subprocess

import resp
import servers
from servers import Trouble

BUS_PORTS = 10_000
READY_LIMIT_S = 60
# What the benchmarks of failover use, too.
NODE_TIMEOUT_MS = 5000


class Redis:
    title = "redis"
    meta = []

    def __init__(self, binary, folder, shape):
        self.binary, self.shape, self.folder = binary, shape, folder / "cluster"
        count = shape.shards * (1 + shape.replicas)
        self.base = servers.free_base([*range(count), *range(BUS_PORTS, BUS_PORTS + count)])
        self.data = [self.base + at for at in range(count)]
        self.processes = {}

    def version(self):
        said = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout
        return "redis-server " + said.split("v=")[1].split()[0]

    def start(self):
        for port in self.data:
            (self.folder / str(port)).mkdir(parents=True)
            self.spawn(port)
        servers.wait_for("all answer", READY_LIMIT_S, lambda: all(self.answers(port) for port in self.data), self.alive)
        nodes = [f"127.0.0.1:{port}" for port in self.data]
        words = ["--cluster-replicas", str(self.shape.replicas), "--cluster-yes"]
        done = subprocess.run(["redis-cli", "--cluster", "create", *nodes, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise Trouble(f"redis-cli --cluster create: {done.stdout[-2000:]}{done.stderr}")
        servers.wait_for("the cluster is whole", READY_LIMIT_S, lambda: not self.unwell(), self.alive)

    def spawn(self, port):
        folder = self.folder / str(port)
        words = ["--port", port, "--bind", "127.0.0.1", "--dir", folder, "--cluster-enabled", "yes"]
        words += ["--cluster-node-timeout", NODE_TIMEOUT_MS, "--logfile", folder / "log"]
        self.processes[port] = subprocess.Popen([self.binary, *map(str, words)], stdin=subprocess.DEVNULL, start_new_session=True)

    def answers(self, port):
        try:
            return resp.ask(port, "PING") == "PONG"
        except (OSError, resp.Failure):
            return False

    def alive(self):
        for port, process in self.processes.items():
            if process.poll() is not None:
                raise Trouble(f"redis-server {port} ended with {process.returncode}")

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for port, process in self.processes.items():
            servers.end(process, f"redis-server {port}")

    def unwell(self):
        primaries = 0
        for port in self.data:
            try:
                cluster, replication = resp.fields(port, "CLUSTER", "INFO"), resp.fields(port, "INFO", "replication")
                flags = [line.split()[2] for line in resp.ask(port, "CLUSTER", "NODES").decode().splitlines()]
            except (OSError, resp.Failure) as why:
                return [f"{port}: {why}"]
            if cluster["cluster_state"] != "ok" or len(flags) != len(self.data):
                return [f"{port} says cluster_state:{cluster['cluster_state']} and knows {len(flags)} nodes"]
            if any("fail" in flag or "handshake" in flag for flag in flags):
                return [f"{port} sees {' '.join(flags)}"]
            primaries += replication["role"] == "master"
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return [f"{port} has no link to its primary"]
        return [] if primaries == self.shape.shards else [f"{primaries} primaries"]

    def parts(self):
        lines = resp.ask(self.data[0], "CLUSTER", "NODES").decode().splitlines()
        rows = [line.split() for line in lines]
        return {int(row[1].split("@")[0].rsplit(":", 1)[1]): "primary" if "master" in row[2] else "replica" for row in rows}

    def shard_of(self, port):
        """The name of its primary, or its own."""
        for line in resp.ask(port, "CLUSTER", "NODES").decode().splitlines():
            row = line.split()
            if "myself" in row[2]:
                return row[0] if row[3] == "-" else row[3]
        return None

    def restart(self, port, how, limit_s, moment):
        """Ends the process of this port, starts it again at once, and returns once all is whole."""
        process = self.processes[port]
        moment("told to end")
        servers.tell(process.pid, how)
        servers.wait_for(f"{port} ends", limit_s, lambda: process.poll() is not None)
        self.spawn(port)
        moment("new process")
        servers.wait_for("all is whole", limit_s, lambda: not self.unwell(), self.alive)
        moment("whole")
