"""How long an event takes from its append's acknowledgement to the start of its function."""

import itertools
import json
import pathlib
import threading
import time

from client import Client, NoAnswer

THREADS = 4
KEYS = 1000
# How long the last functions may take to start.
LAST_SECONDS = 20
# Fewer events than this say nothing about a percentile.
ENOUGH = 50

# Ids of events, for all threads.
numbers = itertools.count(1)


def measure(port: int, stamps: pathlib.Path, rate: int, seconds: float) -> list[float]:
    """Appends at that rate for so long; returns seconds, sorted. A function that starts before the client has seen the
    acknowledgement has waited for nothing."""
    already = len(read(stamps))
    acknowledged: dict[int, float] = {}
    threads = [
        threading.Thread(target=_append, args=(port, number, rate, seconds, acknowledged), daemon=True)
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(acknowledged) < ENOUGH:
        raise NoAnswer(f"only {len(acknowledged)} of {rate * seconds:.0f} appends were acknowledged")
    deadline = time.monotonic() + LAST_SECONDS
    while True:
        started = {stamp["id"]: stamp["time"] for stamp in read(stamps)[already:]}
        missing = acknowledged.keys() - started.keys()
        if not missing:
            return sorted(max(0.0, started[event] - at) for event, at in acknowledged.items())
        if time.monotonic() > deadline:
            raise NoAnswer(f"the functions of {len(missing)} of {len(acknowledged)} events have not started")
        time.sleep(0.05)


def read(stamps: pathlib.Path) -> list[dict]:
    with stamps.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def _append(port: int, number: int, rate: int, seconds: float, acknowledged: dict[int, float]) -> None:
    client = Client(port)
    began = time.monotonic()
    # In turns with the other threads.
    due = began + number / rate
    while due < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        due += THREADS / rate
        event = next(numbers)
        body = {"topic": "probe", "entries": {f"key-{event % KEYS}": {"id": event}}}
        try:
            status, _ = client.ask("POST", "/append", body)
        except NoAnswer:
            continue
        if status == 200:
            acknowledged[event] = time.monotonic()
    client.close()


def percentile(ordered: list[float], of_hundred: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * of_hundred / 100))]
