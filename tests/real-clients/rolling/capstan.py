"""A cluster of `capstan dev`: how it is started, which process is which, and when it is whole again after a restart.

Whole is what `capstan status --json` and `capstan nodes --json` say, and every data node beside them: a new life of the
process is registered, every primary has its lease, every replica holds a complete copy, every meta server answers.
"""

import json
import subprocess

import resp
import servers
from servers import Timeout, Trouble

META_PORTS = 50
PEER_PORTS = 10_000
READY_LIMIT_S = 60
# One question by the command line.
VERB_LIMIT_S = 10
# A node that the leader has not heard of for longer is not well; heartbeats come every half second.
HEARD_MS_MAX = 2000


def unwell(status, nodes, shape):
    """What keeps a cluster of this shape from being whole, in words; nothing if it is. Pure."""
    found = []
    if status["state"] != "ok":
        found.append(f"the cluster is {status['state']}: {'; '.join(status['problems'])}")
    meta = status["meta"]
    if not meta["quorum"] or not meta["members"] == meta["reachable"] == shape.meta:
        found.append(f"{meta['reachable']} of {shape.meta} meta servers answer")
    expected = shape.shards * (1 + shape.replicas)
    parts = [node["role"] for node in nodes]
    if parts.count("primary") != shape.shards or len(parts) != expected or "unassigned" in parts:
        found.append(f"{len(parts)} nodes, {parts.count('primary')} of them primaries")
    for node in nodes:
        found.extend(unwell_node(node))
    return found


def unwell_node(node):
    name, heard = f"{node['role']} {node['address']}", node["heartbeat_age_ms"]
    if node["dead"]:
        yield f"{name} is dead"
    elif heard is None or heard > HEARD_MS_MAX:
        yield f"{name} was last heard {'never' if heard is None else f'{heard} ms ago'}"
    elif node["role"] == "primary" and node["lease_left_ms"] == 0:
        yield f"{name} has no lease: {node['refused_why']}"
    # Not every version of `nodes` says it; then the replica itself is asked.
    elif node["role"] == "replica" and not node.get("whole", True):
        yield f"{name} holds no complete copy"


class Capstan:
    title = "capstan"

    def __init__(self, binary, folder, shape):
        self.binary, self.shape, self.folder = binary, shape, folder / "cluster"
        count = shape.shards * (1 + shape.replicas)
        offsets = [*range(count), *range(PEER_PORTS, PEER_PORTS + count), *range(META_PORTS, META_PORTS + shape.meta)]
        self.base = servers.free_base(offsets)
        self.data = [self.base + at for at in range(count)]
        self.meta = [self.base + META_PORTS + at for at in range(shape.meta)]
        self.output = folder / "capstan-dev.log"
        self.process = None

    def version(self):
        return subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def start(self):
        words = ["--port", self.base, "--dir", self.folder, "--shards", self.shape.shards]
        words += ["--replicas", self.shape.replicas, "--meta", self.shape.meta]
        with open(self.output, "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, "dev", *map(str, words)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        servers.wait_for("`capstan dev` is ready", READY_LIMIT_S, lambda: not self.unwell(), self.alive)

    def alive(self):
        if self.process.poll() is not None:
            raise Trouble(f"`capstan dev` ended with {self.process.returncode}:\n{self.output.read_text()[-3000:]}")

    def stop(self):
        if self.process is not None:
            servers.end(self.process, "capstan dev")

    def verb(self, *words, ports=None):
        """What an admin verb prints as JSON, asked of these meta servers or of all; nothing if it cannot say."""
        meta = ",".join(f"127.0.0.1:{port}" for port in ports or self.meta)
        more = ["--json", "--meta", meta, "--secret-file", self.folder / "secret"]
        try:
            done = subprocess.run([self.binary, *words, *more], capture_output=True, text=True, timeout=VERB_LIMIT_S)
        except subprocess.TimeoutExpired:
            return None
        return json.loads(done.stdout) if done.returncode == 0 else None

    def unwell(self):
        status = self.verb("status")
        nodes = self.verb("nodes") if status else None
        if not nodes:
            return ["the meta group does not answer"]
        return unwell(status, nodes, self.shape) or self.unwell_to_clients(nodes)

    def unwell_to_clients(self, nodes):
        for node in nodes:
            port = port_of(node)
            try:
                if resp.fields(port, "CLUSTER", "INFO").get("cluster_state") != "ok":
                    return [f"data node {port} does not say cluster_state:ok"]
                if node["role"] == "replica" and resp.fields(port, "INFO", "replication").get("master_link_status") != "up":
                    return [f"replica {port} has no link to its primary"]
            except (OSError, resp.Failure) as why:
                return [f"data node {port}: {why}"]
        return []

    def pids(self):
        lines = (self.folder / "pids").read_text().splitlines()
        return {int(port): int(pid) for port, pid in (line.split() for line in lines)}

    def parts(self):
        """What each port is at this moment: `primary of shard 1`, `meta leader`."""
        nodes, members = self.verb("nodes") or [], self.verb("meta", "members") or {"members": []}
        parts = {port_of(node): f"{node['role']} of shard {node['shard']}" for node in nodes}
        for member in members["members"]:
            parts[port_of(member)] = "meta leader" if member["leader"] else "meta follower"
        return parts

    def shard_of(self, port):
        return next((node["shard"] for node in self.verb("nodes") or [] if port_of(node) == port), None)

    def restart(self, port, how, limit_s, moment):
        """Ends the process of this port, and returns once another one serves and all is whole."""
        before, lives = self.pids().get(port), self.lives()
        if before is None:
            raise Trouble(f"no process is listed for port {port}")
        moment("told to end")
        servers.tell(before, how)
        servers.wait_for(f"{port} has a new process", limit_s, lambda: self.pids().get(port) not in (None, before), self.alive)
        moment("new process")

        def whole():
            return self.new_life(port, lives) and not self.unwell()

        try:
            servers.wait_for("all is whole", limit_s, whole, self.alive)
        except Timeout as late:
            raise Timeout(f"{late}; {'; '.join(self.unwell()) or 'the new life is not registered'}") from late
        moment("whole")

    def lives(self):
        """The counter of each data node's life."""
        return {port_of(node): node["incarnation"] for node in self.verb("nodes") or []}

    def new_life(self, port, before):
        """Whether the process that came is in its place: what is known of the old one may still look fresh."""
        if port not in self.meta:
            return self.lives().get(port, 0) > before.get(port, 0)
        # It answers itself, and lacks nothing that the group has committed.
        told = self.verb("meta", "members", ports=[port])
        return told is not None and all(member["reachable"] and member["lag"] == 0 for member in told["members"])


def port_of(row):
    return int(row["address"].rsplit(":", 1)[1])
