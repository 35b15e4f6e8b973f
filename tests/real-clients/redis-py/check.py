"""redis-py's RedisCluster: every key, a pipeline over all nodes, a transaction, a redirect out of a stale map."""

import sys

import redis
from redis.cluster import RedisCluster

KEYS = 10_000


def value(number):
    # CR LF, NUL and bytes that are no UTF-8: a value is bytes.
    return b"%d\r\n\x00\xff" % number + b"x" * (number % 100)


def expect(what, got, want):
    if got != want:
        raise SystemExit(f"redis-py {redis.__version__}: {what}: got {got!r}, not {want!r}")


def stale_redirect(client):
    key = "redis-py:stale"
    client.set(key, "here")
    slot = client.keyslot(key)
    owner = client.nodes_manager.slots_cache[slot][0]
    wrong = next(node for node in client.get_primaries() if node.name != owner.name)
    direct = redis.Redis(host=wrong.host, port=wrong.port)
    try:
        direct.get(key)
        raise SystemExit("redis-py: the node that does not own the slot answered")
    except redis.exceptions.MovedError as error:
        expect("redirect", (error.slot_id, error.port), (slot, owner.port))
    client.nodes_manager.slots_cache[slot] = [wrong]
    expect("value behind a redirect", client.get(key), b"here")
    # The next command uses the map that the redirect corrected.
    expect("value after a redirect", client.get(key), b"here")
    expect("owner after a redirect", client.nodes_manager.slots_cache[slot][0].name, owner.name)


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    client = RedisCluster(host=host, port=int(port))
    for number in range(KEYS):
        client.set(f"redis-py:{number}", value(number))
    for number in range(KEYS):
        expect(f"key {number}", client.get(f"redis-py:{number}"), value(number))
    pipe = client.pipeline()
    for number in range(1000):
        pipe.get(f"redis-py:{number}")
    expect("pipeline", pipe.execute(), [value(number) for number in range(1000)])
    with client.pipeline(transaction=True) as transaction:
        transaction.set("{redis-py}:a", 41)
        transaction.incr("{redis-py}:a")
        transaction.get("{redis-py}:a")
        # SET gives True over RESP2 and b"OK" over RESP3.
        expect("transaction", transaction.execute()[1:], [42, b"42"])
    stale_redirect(client)
    print(f"redis-py {redis.__version__}: {KEYS} keys, pipeline, transaction, redirect: ok")


main()
