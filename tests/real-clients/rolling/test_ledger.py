"""The ledger finds what it is there to find. `run` runs these first: a checker that sees nothing proves nothing."""

import unittest

import ledger


def record(*rows):
    """Lines of a record out of (kind, key, argument, status, reply)."""
    lines = []
    for at, (kind, key, argument, status, reply) in enumerate(rows):
        times = [str(1000 * at), str(1000 * at + 10), str(1000 * at + 20)]
        lines.append("\t".join([kind, key, argument, *times, status, reply]) + "\n")
    return ledger.read(lines)


def judged(rows, **final):
    return ledger.judge(record(*rows), lambda key: final.get(key.split(":")[1]))


def incr(reply, status="ok"):
    return ("incr", "c:counter:0", "", status, reply)


def put(value, status="ok"):
    return ("set", "c:register:0", value, status, "OK")


def get(of, reply, status="ok"):
    return ("get", f"c:{of}:0", "", status, reply)


class TheLedger(unittest.TestCase):
    def test_finds_nothing_where_all_is_well(self):
        rows = [get("counter", "", "nil"), incr("1"), incr("2"), put("0.1"), get("register", "0.1"), get("counter", "2")]
        verdict = judged(rows, counter="2", register="0.1")
        self.assertEqual((verdict.operations, verdict.writes), (6, 3))
        self.assertEqual((verdict.errors, verdict.lost, verdict.twice), (0, 0, 0), verdict.told)

    def test_finds_an_increment_that_was_lost_before_the_next_one(self):
        self.assertEqual(judged([incr("1"), incr("1")], counter="1").lost, 1)

    def test_finds_increments_that_are_missing_at_the_end(self):
        self.assertEqual(judged([incr("1"), incr("2"), incr("3")], counter="1").lost, 2)
        self.assertEqual(judged([incr("1")]).lost, 1)

    def test_finds_a_value_that_went_back_to_an_older_one(self):
        self.assertEqual(judged([put("0.1"), put("0.2"), get("register", "0.1")], register="0.1").lost, 1)
        self.assertEqual(judged([put("0.1"), put("0.2")], register="0.1").lost, 1)
        self.assertEqual(judged([put("0.1")]).lost, 1)

    def test_counts_an_increment_that_was_done_twice_and_does_not_call_it_lost(self):
        verdict = judged([incr("1"), incr("3")], counter="3")
        self.assertEqual((verdict.lost, verdict.twice), (0, 1))

    def test_allows_a_write_that_ended_in_an_error_to_have_happened_or_not(self):
        for value in ("1", "2"):
            verdict = judged([incr("1"), incr("gone", "error")], counter=value)
            self.assertEqual((verdict.errors, verdict.lost, verdict.twice), (1, 0, 0))
        for value in ("0.1", "0.2"):
            self.assertEqual(judged([put("0.1"), put("0.2", "error")], register=value).lost, 0)
        self.assertEqual(judged([put("0.1"), put("0.2", "error")]).lost, 1)

    def test_measures_from_when_an_operation_was_due(self):
        operation = ledger.Operation("get", "c:register:0", "", 1000, 5000, 8000, "ok", "x")
        self.assertEqual((operation.took_ms, operation.late_ms), (3, 7))


if __name__ == "__main__":
    unittest.main()
