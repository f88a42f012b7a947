"""The load of a crash test: clients that append all the time, and record each attempt and what came of it."""

import json
import pathlib
import random
import threading
import time

from client import Client, NoAnswer
from history import ACKNOWLEDGED, APPEND, ATTEMPTS, UNKNOWN

TOPIC = "events"
KEYS = 4
# Of a hundred events: how many fail at first, and how many always.
FAIL_ONCE, FAIL_ALWAYS = 5, 1
# Of ten thousand others: those that end their worker each time, and those that outlast the lease.
KILL, SLOW = 6, 12
# The pause between two appends of a client, in seconds, at most.
PAUSE = 0.04


class Record:
    """The file of attempts, which all clients write to."""

    def __init__(self, folder: pathlib.Path):
        self.file = (folder / ATTEMPTS).open("w", encoding="utf-8")
        self.lock = threading.Lock()
        self.counts = {APPEND: 0, ACKNOWLEDGED: 0, UNKNOWN: 0}
        # Reasons of unknown outcomes, and how many there were of each.
        self.reasons: dict[str, int] = {}
        # How long the slowest append took, in seconds, and what came of it.
        self.slowest, self.slowest_answer = 0.0, ""

    def write(self, do: str, events: list[dict]) -> None:
        with self.lock:
            self.file.writelines(json.dumps({"do": do, "time": time.time(), **event}) + "\n" for event in events)
            self.file.flush()
            self.counts[do] += len(events)

    def reason(self, text: str) -> None:
        with self.lock:
            self.reasons[text] = self.reasons.get(text, 0) + 1

    def took(self, seconds: float, answer: str) -> None:
        with self.lock:
            if seconds > self.slowest:
                self.slowest, self.slowest_answer = seconds, answer


class Appender(threading.Thread):
    """One client with keys of its own, and so with one append in flight for each key."""

    def __init__(self, number: int, port: int, record: Record, stop: threading.Event, seed: int):
        super().__init__(name=f"appender-{number}", daemon=True)
        self.number, self.record, self.stop = number, record, stop
        self.client = Client(port)
        self.choice = random.Random(seed * 1000 + number)
        self.next = dict.fromkeys((f"key-{number}-{key}" for key in range(KEYS)), 1)

    def run(self) -> None:
        while not self.stop.is_set():
            if self.client.connect():
                self._append()
            self.stop.wait(self.choice.uniform(0, PAUSE))
        self.client.close()

    def _append(self) -> None:
        entries = {}
        for key in self.choice.sample(list(self.next), self.choice.randint(1, 3)):
            entries[key] = self._event(key)
        self.record.write(
            APPEND,
            [{"id": e["id"], "key": key, "poison": e.get("trouble") in ("always", "kill")} for key, e in entries.items()],
        )
        body = {"topic": TOPIC, "entries": entries}
        path = self.choice.choice(["/proxy", "/append"])
        began = time.monotonic()
        try:
            status, answer = self.client.ask("POST", path, body)
            offsets = self._offsets(path, status, answer)
        except NoAnswer as reason:
            self.record.reason(str(reason))
            self.record.write(UNKNOWN, [{"id": event["id"], "key": key} for key, event in entries.items()])
            self.record.took(time.monotonic() - began, str(reason))
            # Time for a server that is gone to come back.
            self.stop.wait(0.05)
            return
        self.record.write(
            ACKNOWLEDGED,
            [{"id": event["id"], "key": key, "offset": offsets.get(key)} for key, event in entries.items()],
        )
        self.record.took(time.monotonic() - began, ACKNOWLEDGED)

    @staticmethod
    def _offsets(path: str, status: int, answer) -> dict[str, int]:
        """The offset of each key, as far as the answer says it. Whatever isn't an acknowledgement is no answer."""
        data = answer.get("data") if isinstance(answer, dict) else None
        if status == 200 and path == "/append" and isinstance(data, dict):
            return data
        if status == 200 and path == "/proxy" and data == "ok":
            return {}
        raise NoAnswer(f"{path} answers {status}: {str(answer)[:200]}")

    def _event(self, key: str) -> dict:
        sequence = self.next[key]
        self.next[key] += 1
        event = {"id": f"{key}-{sequence}", "seq": sequence}
        dice = self.choice.randrange(100)
        if dice < FAIL_ALWAYS:
            event["trouble"] = "always"
        elif dice < FAIL_ALWAYS + FAIL_ONCE:
            event["trouble"] = "once"
        elif (dice := self.choice.randrange(10_000)) < KILL:
            event["trouble"] = "kill"
        elif dice < KILL + SLOW:
            event["trouble"] = "slow"
        return event


class Load:
    """So many appenders, until they are stopped."""

    def __init__(self, count: int, port: int, folder: pathlib.Path, seed: int):
        self.record = Record(folder)
        self.stopped = threading.Event()
        self.appenders = [Appender(n, port, self.record, self.stopped, seed) for n in range(count)]

    def start(self) -> None:
        for appender in self.appenders:
            appender.start()

    def acknowledged(self) -> int:
        return self.record.counts[ACKNOWLEDGED]

    def stop(self, seconds: float) -> list[str]:
        """Lets each appender finish what it has begun; returns the names of those that haven't by then."""
        self.stopped.set()
        deadline = time.monotonic() + seconds
        for appender in self.appenders:
            if appender.ident is not None:
                appender.join(max(0.0, deadline - time.monotonic()))
        left = [appender.name for appender in self.appenders if appender.is_alive()]
        if not left:
            self.record.file.close()
        return left
