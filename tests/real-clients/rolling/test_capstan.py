"""What keeps a cluster from being whole is seen: a restart that is called done too early would prove nothing."""

import copy
import types
import unittest

import capstan

SHAPE = types.SimpleNamespace(shards=1, replicas=1, meta=3)
STATUS = {"state": "ok", "problems": [], "meta": {"quorum": True, "members": 3, "reachable": 3}}
PRIMARY = {
    "address": "127.0.0.1:1",
    "role": "primary",
    "dead": False,
    "heartbeat_age_ms": 300,
    "lease_left_ms": 4000,
    "refused_why": "",
    "whole": True,
}
REPLICA = {**PRIMARY, "address": "127.0.0.1:2", "role": "replica", "lease_left_ms": 0}


def unwell(status=STATUS, primary=PRIMARY, replica=REPLICA):
    return capstan.unwell(copy.deepcopy(status), [primary, replica], SHAPE)


class WholeMeans(unittest.TestCase):
    def test_nothing_is_said_of_a_whole_cluster(self):
        self.assertEqual(unwell(), [])

    def test_every_primary_has_a_lease(self):
        self.assertIn("no lease", unwell(primary={**PRIMARY, "lease_left_ms": 0})[0])

    def test_every_replica_holds_a_complete_copy(self):
        self.assertIn("no complete copy", unwell(replica={**REPLICA, "whole": False})[0])

    def test_every_node_lives_and_was_heard_of_lately(self):
        self.assertIn("dead", unwell(replica={**REPLICA, "dead": True})[0])
        self.assertIn("never", unwell(replica={**REPLICA, "heartbeat_age_ms": None})[0])
        self.assertIn("60000 ms ago", unwell(replica={**REPLICA, "heartbeat_age_ms": 60_000})[0])

    def test_every_node_has_its_part(self):
        self.assertIn("0 of them primaries", unwell(primary={**REPLICA, "address": "127.0.0.1:1"})[0])
        self.assertIn("2 nodes", unwell(replica={**REPLICA, "role": "unassigned"})[0])
        self.assertIn("1 nodes", capstan.unwell(STATUS, [PRIMARY], SHAPE)[0])

    def test_every_meta_server_answers(self):
        meta = {**STATUS["meta"], "reachable": 2}
        self.assertIn("2 of 3 meta servers", unwell(status={**STATUS, "meta": meta})[0])

    def test_what_the_group_itself_says_is_told(self):
        self.assertIn("a slot is free", unwell(status={**STATUS, "state": "down", "problems": ["a slot is free"]})[0])


if __name__ == "__main__":
    unittest.main()
