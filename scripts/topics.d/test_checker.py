"""The checker finds each fault in a small history, and none in one that keeps all promises."""

import unittest
from dataclasses import replace

import checker
from faults import planted
from history import ACKNOWLEDGED, APPEND, BEGIN, END, FAIL, UNKNOWN, Attempt, History, Position, Step, Stored

MAX_ATTEMPTS = 3


class Writer:
    """Makes a history event by event."""

    def __init__(self):
        self.history = History(MAX_ATTEMPTS)
        self.runs = 0

    def append(self, name: str, key: str, outcome: str = ACKNOWLEDGED, *, stored=True, poison=False) -> None:
        log, attempts = self.history.log, self.history.attempts
        offset = len(log) + 1
        attempts.append(Attempt(APPEND, name, key, poison=poison))
        attempts.append(Attempt(outcome, name, key, offset if outcome == ACKNOWLEDGED else None))
        if stored:
            log.append(Stored(name, key, 0, offset))

    def handle(self, name: str, key: str, end: str | None = END, attempt: int = 1) -> None:
        self.runs += 1
        self.history.steps.append(Step(BEGIN, str(self.runs), name, key, attempt))
        if end:
            self.history.steps.append(Step(end, str(self.runs), name, key, attempt))

    def done(self) -> History:
        end = len(self.history.log) + 1
        self.history.positions = [Position(0, end, end, 0)]
        return self.history


def good() -> History:
    """Three keys, events of unknown outcome, retries, a crash in mid-function, and two dead letters."""
    writer = Writer()
    for name in ("a1", "a2", "a3"):
        writer.append(name, "a")
    writer.append("b1", "b", UNKNOWN)
    writer.append("b2", "b", UNKNOWN, stored=False)
    writer.append("b3", "b", poison=True)
    writer.append("b4", "b")
    writer.append("c1", "c", poison=True)
    writer.append("c2", "c")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        writer.handle("c1", "c", None, attempt)
    writer.history.dead.append("c1")
    writer.history.dead_with_process.add("c1")
    writer.handle("c2", "c")
    writer.handle("a1", "a", FAIL)
    writer.handle("b1", "b")
    writer.handle("a1", "a", attempt=2)
    writer.handle("a2", "a", None)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        writer.handle("b3", "b", FAIL, attempt)
    writer.history.dead.append("b3")
    writer.handle("a2", "a", attempt=2)
    writer.handle("b4", "b")
    writer.handle("a3", "a")
    writer.handle("a3", "a", attempt=2)
    return writer.done()


class CheckerTest(unittest.TestCase):
    """Each test's name is what it proves."""

    def found(self, history: History) -> set[str]:
        return {fault.kind for fault in checker.check(history)}

    def test_a_history_that_keeps_all_promises_has_no_fault(self):
        self.assertEqual(checker.check(good()), [])

    def test_each_planted_fault_is_found(self):
        for seed in range(20):
            for what, kind, history in planted(good(), seed):
                with self.subTest(what, seed=seed):
                    self.assertIn(kind, self.found(history))

    def test_planting_leaves_the_history_as_it_was(self):
        history = good()
        for _ in planted(history, 1):
            pass
        self.assertEqual(history, good())

    def test_an_event_of_unknown_outcome_may_come_late_but_not_early(self):
        late, early = good(), good()
        places = {"b1": 5, "b3": 4}
        late.log = [replace(event, offset=places.get(event.id, event.offset)) for event in late.log]
        late.attempts = [replace(a, offset=places.get(a.id, a.offset)) if a.offset else a for a in late.attempts]
        self.assertNotIn(checker.REORDERED, self.found(late))
        early.attempts.extend([Attempt(APPEND, "a4", "a"), Attempt(UNKNOWN, "a4", "a")])
        early.log.append(Stored("a4", "a", 0, 0))
        self.assertIn(checker.REORDERED, self.found(early))

    def test_events_of_a_key_in_two_partitions_have_no_order(self):
        history = good()
        history.log = [replace(event, partition=int(event.id == "a2")) for event in history.log]
        self.assertIn(checker.REORDERED, self.found(history))

    def test_two_events_at_one_place_are_a_fault(self):
        history = good()
        history.log.append(replace(history.log[0], id="b2", key="b"))
        self.assertEqual(self.found(history) & {checker.DUPLICATE}, {checker.DUPLICATE})

    def test_an_event_stored_under_another_key_was_appended_by_nobody(self):
        history = good()
        history.log[0] = replace(history.log[0], key="b")
        self.assertIn(checker.FOREIGN, self.found(history))

    def test_a_call_for_an_event_that_is_not_in_the_log_is_a_fault(self):
        history = good()
        history.steps.append(Step(BEGIN, "99", "b2", "b", 1))
        self.assertIn(checker.FOREIGN, self.found(history))

    def test_a_key_goes_on_only_after_the_last_attempt_of_a_failing_event(self):
        history = good()
        history.steps = [s for s in history.steps if not (s.id == "b3" and s.attempt == MAX_ATTEMPTS)]
        self.assertIn(checker.OUT_OF_ORDER, self.found(history))

    def test_a_last_attempt_may_end_with_its_process_before_it_begins_but_only_then(self):
        writer = Writer()
        writer.append("a1", "a", poison=True)
        writer.append("a2", "a")
        for attempt in range(1, MAX_ATTEMPTS):
            writer.handle("a1", "a", FAIL, attempt)
        writer.handle("a2", "a")
        writer.history.dead.append("a1")
        self.assertEqual([fault.kind for fault in checker.check(writer.done())], [checker.OUT_OF_ORDER])
        writer.history.dead_with_process.add("a1")
        self.assertEqual(checker.check(writer.done()), [])
        # It was handed out again after the next one.
        writer.handle("a1", "a", FAIL, MAX_ATTEMPTS)
        self.assertEqual([fault.kind for fault in checker.check(writer.done())], [checker.OUT_OF_ORDER])

    def test_a_poisonous_event_that_is_no_dead_letter_is_a_fault(self):
        history = good()
        history.dead = []
        self.assertEqual({checker.BURIED, checker.UNHANDLED, checker.OUT_OF_ORDER}, self.found(history))

    def test_a_position_is_at_the_end_in_each_respect(self):
        end = good().positions[0]
        for wrong in (
            replace(end, lag=1),
            replace(end, next=end.next + 1),
            replace(end, next=end.next - 1, committed=end.next - 1),
        ):
            with self.subTest(wrong=wrong):
                history = good()
                history.positions = [wrong]
                self.assertEqual(self.found(history), {checker.POSITION})

    def test_a_group_without_a_position_is_a_fault(self):
        history = good()
        history.positions = []
        self.assertEqual(self.found(history), {checker.POSITION})


if __name__ == "__main__":
    unittest.main()
