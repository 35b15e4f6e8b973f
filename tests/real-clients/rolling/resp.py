"""Just enough RESP2 to ask servers without any of the clients under test, and a reader of all keys of a cluster."""

import socket

# A question to a server on this machine takes no longer, or the server does not answer.
ASK_LIMIT_S = 2.0
# How many keys one reader asks for at a time.
PIPELINE = 500


class Failure(Exception):
    """An error reply."""


class Connection:
    def __init__(self, port, limit_s=ASK_LIMIT_S):
        self.socket = socket.create_connection(("127.0.0.1", port), limit_s)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(b"*%d\r\n%s" % (len(parts), body))

    def receive(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Failure(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(rest))]
        raise ConnectionError(f"no RESP: {line!r}")

    def ask(self, *words):
        self.send(*words)
        return self.receive()


def ask(port, *words):
    """One question over a connection of its own."""
    with Connection(port) as connection:
        return connection.ask(*words)


def fields(port, *words):
    """A reply of `field:value` lines (INFO, CLUSTER INFO)."""
    lines = ask(port, *words).decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def slot_of(key):
    """CRC16 (XMODEM) of the key; ours have no hash tag."""
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0x3FFF


def read_all(port, keys):
    """The value of each key, text or None, from the primaries that CLUSTER SLOTS of this server names."""
    owner = {}
    for first, last, primary, *_ in ask(port, "CLUSTER", "SLOTS"):
        owner.update(dict.fromkeys(range(first, last + 1), primary[1]))
    by_port = {}
    for key in keys:
        by_port.setdefault(owner[slot_of(key)], []).append(key)
    values = {}
    for at, mine in by_port.items():
        with Connection(at) as connection:
            for start in range(0, len(mine), PIPELINE):
                some = mine[start : start + PIPELINE]
                for key in some:
                    connection.send("GET", key)
                for key in some:
                    value = connection.receive()
                    values[key] = None if value is None else value.decode()
    return values
