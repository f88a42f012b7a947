"""What a crash test has recorded: what was appended, what is in the log, and what the trigger's function did.

Everything is in lines of JSON, each written at once, so that a killed process leaves whole lines. The order of a file's
lines is the order in which things happened.
"""

import json
import pathlib
from dataclasses import dataclass, field

# What a client does with an append: it begins it, and then learns that it is stored, or not what came of it.
APPEND, ACKNOWLEDGED, UNKNOWN = "append", "acknowledged", "unknown"
# What the function does with an event: it begins, and then ends well or badly, unless it is killed.
BEGIN, END, FAIL = "begin", "end", "fail"

ATTEMPTS, HANDLED, LOG, DEAD, OFFSETS = (
    "attempts.jsonl",
    "handled.jsonl",
    "log.jsonl",
    "dead.jsonl",
    "offsets.jsonl",
)


@dataclass(frozen=True)
class Attempt:
    """A client's append of one event begins, or comes to its end."""

    do: str
    id: str
    key: str
    # As append has returned it; None where the answer doesn't say.
    offset: int | None = None
    time: float = 0.0
    # Whether the function is to fail on the event for ever.
    poison: bool = False


@dataclass(frozen=True)
class Stored:
    """An event in the log."""

    id: str
    key: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Step:
    """The function begins or ends; `run` is one call of it."""

    do: str
    run: str
    id: str
    key: str
    attempt: int
    time: float = 0.0


@dataclass(frozen=True)
class Position:
    """How far the group is in a partition, whose next event gets the offset `next`."""

    partition: int
    next: int
    committed: int
    lag: int


@dataclass
class History:
    """A whole run."""

    max_attempts: int
    attempts: list[Attempt] = field(default_factory=list)
    # In the order of their offsets, partition by partition.
    log: list[Stored] = field(default_factory=list)
    # Ids of the dead letters, and of those among them whose last attempt ended with its process.
    dead: list[str] = field(default_factory=list)
    dead_with_process: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)


def lines(file: pathlib.Path):
    with file.open(encoding="utf-8") as opened:
        yield from map(json.loads, opened)


def write(file: pathlib.Path, records) -> None:
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(json.dumps(record) + "\n" for record in records)


def _died(headers: dict[str, str], max_attempts: int) -> bool:
    """Whether it was the end of a process that made the last of all attempts fail."""
    return headers["spacer-dead-attempts"] == str(max_attempts) and headers["spacer-dead-error"].startswith(
        "its worker process ended"
    )


def read(folder: pathlib.Path, max_attempts: int) -> History:
    """The history whose files are in the folder."""
    handled = folder / HANDLED
    dead = list(lines(folder / DEAD))
    return History(
        max_attempts=max_attempts,
        attempts=[Attempt(**record) for record in lines(folder / ATTEMPTS)],
        log=[
            Stored(event["value"]["id"], event["key"], event["partition"], event["offset"])
            for event in lines(folder / LOG)
        ],
        dead=[event["value"]["id"] for event in dead],
        dead_with_process={event["value"]["id"] for event in dead if _died(event["headers"], max_attempts)},
        steps=[Step(**record) for record in lines(handled)] if handled.exists() else [],
        positions=[Position(**record) for record in lines(folder / OFFSETS)],
    )
