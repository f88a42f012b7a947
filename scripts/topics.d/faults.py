"""Plants faults into a history, one at a time, to show that the checker finds each."""

import random
from collections import defaultdict
from dataclasses import replace

import checker
from history import ACKNOWLEDGED, BEGIN, END, UNKNOWN, History, Stored


def planted(history: History, seed: int):
    """Yields, for each fault, what it is, the kind that the checker must find, and the history that has it."""
    choice = random.Random(seed)
    acknowledged = {attempt.id for attempt in history.attempts if attempt.do == ACKNOWLEDGED}
    known = [event for event in history.log if event.id in acknowledged]
    ended = {step.id for step in history.steps if step.do == END}
    event = choice.choice([event for event in known if event.id in ended])
    one, other = choice.choice(list(_neighbours(known, ended)))

    yield "a lost event", checker.LOST, replace(history, log=[e for e in history.log if e.id != event.id])
    again = _append(history, event)
    yield "an event stored twice", checker.DUPLICATE, replace(history, log=[*history.log, again])
    yield "an event that nobody appended", checker.FOREIGN, replace(
        history, log=[*history.log, replace(again, id="planted")]
    )
    yield "two events of a key swapped", checker.REORDERED, _swapped(history, one, other)
    yield "a wrong offset in an answer", checker.MISPLACED, replace(
        history,
        attempts=[
            replace(a, offset=event.offset + 1) if a.id == event.id and a.do == ACKNOWLEDGED else a
            for a in history.attempts
        ],
    )
    yield "an event of unknown outcome stored twice", checker.DUPLICATE, replace(
        history,
        attempts=[
            replace(a, do=UNKNOWN) if a.id == event.id and a.do == ACKNOWLEDGED else a for a in history.attempts
        ],
        log=[*history.log, again],
    )
    yield "an event that was skipped", checker.UNHANDLED, replace(
        history, steps=[step for step in history.steps if step.id != event.id]
    )
    yield "an event whose function was never finished", checker.UNHANDLED, replace(
        history, steps=[step for step in history.steps if step.id != event.id or step.do == BEGIN]
    )
    yield "two events handled in the wrong order", checker.OUT_OF_ORDER, _handled_swapped(history, one, other)
    yield "an event begun while its predecessor runs", checker.TOGETHER, _overlapping(history, one, other)
    yield "a dead letter without need", checker.BURIED, replace(history, dead=[*history.dead, event.id])
    yield "a position before the end", checker.POSITION, replace(
        history, positions=[replace(p, committed=p.committed - 1, lag=1) for p in history.positions]
    )


def _append(history: History, event: Stored) -> Stored:
    """The event once more, at the end of its partition."""
    last = max(stored.offset for stored in history.log if stored.partition == event.partition)
    return replace(event, offset=last + 1)


def _neighbours(known: list[Stored], ended: set[str]):
    """Events of a key that follow each other."""
    keys = defaultdict(list)
    for event in known:
        if event.id in ended:
            keys[event.key].append(event)
    for events in keys.values():
        yield from zip(events, events[1:])


def _swapped(history: History, one: Stored, other: Stored) -> History:
    places = {one.id: other.offset, other.id: one.offset}
    return replace(
        history,
        attempts=[replace(a, offset=None) if a.id in places else a for a in history.attempts],
        log=[replace(event, offset=places.get(event.id, event.offset)) for event in history.log],
    )


def _handled_swapped(history: History, one: Stored, other: Stored) -> History:
    swap = {one.id: other.id, other.id: one.id}
    return replace(history, steps=[replace(step, id=swap.get(step.id, step.id)) for step in history.steps])


def _overlapping(history: History, one: Stored, other: Stored) -> History:
    """The first call for `other` begins right before the last one for `one` ends."""
    begin = next(step for step in history.steps if step.id == other.id and step.do == BEGIN)
    steps = [step for step in history.steps if step is not begin]
    end = max(i for i, step in enumerate(steps) if step.id == one.id and step.do == END)
    return replace(history, steps=[*steps[:end], begin, *steps[end:]])
