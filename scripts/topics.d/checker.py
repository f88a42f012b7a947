"""Whether a history keeps what topics promise. Pure: it looks at records only.

The promises: an acknowledged append is in the log exactly once, where the answer said, and one whose outcome the client
doesn't know at most once; events of a key stand in the order in which they were appended, as far as one was
acknowledged before the other was begun; each is handled to its end or kept as a dead letter, in the log's order for each
key, one at a time; and the group is at the end.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from history import ACKNOWLEDGED, APPEND, BEGIN, END, FAIL, History, Stored

LOST = "lost"
DUPLICATE = "stored twice"
FOREIGN = "appended by nobody"
MISPLACED = "not where the answer said"
REORDERED = "order of a key"
UNHANDLED = "not handled"
OUT_OF_ORDER = "handled out of order"
TOGETHER = "two of a key at once"
BURIED = "dead letters"
POSITION = "position"

# What is said of each promise, in the order in which it is said.
PROMISES = {
    LOST: "every acknowledged append is in the log",
    DUPLICATE: "no event is in the log twice",
    FOREIGN: "the log holds nothing that was not appended",
    MISPLACED: "every event has the offset that its append returned",
    REORDERED: "the events of each key are in the order of their appends",
    UNHANDLED: "every event in the log was handled, or is a dead letter",
    OUT_OF_ORDER: "the events of each key were handled in order",
    TOGETHER: "no two events of a key were handled at once",
    BURIED: "the dead letters are those whose function always fails",
    POSITION: "the group's position is at the end",
}


@dataclass(frozen=True)
class Fault:
    """A promise that was not kept; `kind` is one of the above."""

    kind: str
    text: str


def check(history: History) -> list[Fault]:
    by_id = {event.id: event for event in history.log}
    return [
        *_stored(history, by_id),
        *_ordered(history, by_id),
        *_handled(history),
        *_handled_in_order(history),
        *_one_at_a_time(history),
        *_dead(history),
        *_positions(history),
    ]


def _place(event: Stored) -> tuple[int, int]:
    return event.partition, event.offset


def _at(event: Stored) -> str:
    return f"event {event.id} of key {event.key} at {event.partition}/{event.offset}"


def _stored(history: History, by_id: dict[str, Stored]):
    begun = {attempt.id: attempt for attempt in history.attempts if attempt.do == APPEND}
    for event_id, count in Counter(event.id for event in history.log).items():
        if count > 1:
            yield Fault(DUPLICATE, f"event {event_id} is in the log {count} times")
    places = Counter(_place(event) for event in history.log)
    yield from (Fault(DUPLICATE, f"{count} events are at {place}") for place, count in places.items() if count > 1)
    for event in history.log:
        if event.id not in begun or begun[event.id].key != event.key:
            yield Fault(FOREIGN, f"{_at(event)} was not appended")
    for attempt in history.attempts:
        if attempt.do != ACKNOWLEDGED:
            continue
        event = by_id.get(attempt.id)
        if not event:
            yield Fault(LOST, f"event {attempt.id} of key {attempt.key} was acknowledged")
        elif attempt.offset is not None and attempt.offset != event.offset:
            yield Fault(MISPLACED, f"{_at(event)}: append has returned {attempt.offset}")


def _ordered(history: History, by_id: dict[str, Stored]):
    # The last place of a key's events that were acknowledged so far: what is begun later stands behind it.
    last: dict[str, Stored] = {}
    behind: dict[str, Stored] = {}
    for attempt in history.attempts:
        event = by_id.get(attempt.id)
        if attempt.do == APPEND and attempt.key in last:
            behind[attempt.id] = last[attempt.key]
        elif attempt.do == ACKNOWLEDGED and event:
            last[attempt.key] = max(last.get(attempt.key, event), event, key=_place)
    for event in history.log:
        earlier = behind.get(event.id)
        if earlier and (earlier.partition != event.partition or earlier.offset >= event.offset):
            yield Fault(REORDERED, f"{_at(event)} was begun after {_at(earlier)} was acknowledged")


def _handled(history: History):
    ended = {step.id for step in history.steps if step.do == END} | set(history.dead)
    yield from (Fault(UNHANDLED, _at(event)) for event in history.log if event.id not in ended)
    known = {event.id for event in history.log}
    for event_id in {step.id for step in history.steps} - known:
        yield Fault(FOREIGN, f"event {event_id} was handled and is not in the log")


def _handled_in_order(history: History):
    """No event of a key is begun before all earlier ones have ended or failed for the last time."""
    queues: dict[str, list[str]] = defaultdict(list)
    index: dict[str, int] = {}
    for event in sorted(history.log, key=_place):
        index[event.id] = len(queues[event.key])
        queues[event.key].append(event.id)
    over: set[str] = set()
    dead = set(history.dead)
    # An attempt counts when it is handed out, and its process may end before it begins: the last step of such an event is not that of its
    # last attempt.
    last = {step.id: number for number, step in enumerate(history.steps) if step.id in history.dead_with_process}
    first: Counter[str] = Counter()
    for number, step in enumerate(history.steps):
        if step.id not in index:
            continue
        ended = step.do == END or (step.do == FAIL and step.attempt >= history.max_attempts and step.id in dead)
        if ended:
            over.add(step.id)
        queue = queues[step.key]
        while first[step.key] < len(queue) and queue[first[step.key]] in over:
            first[step.key] += 1
        if step.do == BEGIN and index[step.id] > first[step.key]:
            earlier = queue[first[step.key]]
            yield Fault(OUT_OF_ORDER, f"event {step.id} of key {step.key} was begun before {earlier} was over")
        if last.get(step.id) == number:
            over.add(step.id)


def _one_at_a_time(history: History):
    """A call that comes to its end is the last one that was begun for its key. One that is killed doesn't end."""
    latest: dict[str, str] = {}
    for step in history.steps:
        if step.do == BEGIN:
            latest[step.key] = step.run
        elif latest.get(step.key) != step.run:
            yield Fault(TOGETHER, f"call {step.run} for event {step.id} went on while {latest.get(step.key)} began")


def _dead(history: History):
    poison = {attempt.id for attempt in history.attempts if attempt.do == APPEND and attempt.poison}
    stored = {event.id for event in history.log}
    begun = Counter(step.id for step in history.steps if step.do == BEGIN)
    # Each of its attempts may have ended with its worker, if only before its end was stored.
    unlucky = {event_id for event_id, count in begun.items() if count >= history.max_attempts}
    unlucky |= history.dead_with_process
    for event_id in set(history.dead) - poison - unlucky:
        yield Fault(BURIED, f"event {event_id} is a dead letter, although its function succeeds")
    for event_id in (poison & stored) - set(history.dead):
        yield Fault(BURIED, f"event {event_id} is no dead letter, although its function always fails")


def _positions(history: History):
    if not history.positions:
        yield Fault(POSITION, "the group has none")
    ends: Counter[int] = Counter()
    for event in history.log:
        ends[event.partition] = max(ends[event.partition], event.offset + 1)
    for position in history.positions:
        if position.lag or position.committed != position.next or position.committed < ends[position.partition]:
            yield Fault(POSITION, f"{position}, the last event is followed by {ends[position.partition]}")
