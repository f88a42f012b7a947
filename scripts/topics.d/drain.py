"""The end of a crash test: waits until the group has handled everything, and reads the whole log over HTTP."""

import pathlib
import time

import history
from appenders import TOPIC
from client import Client, NoAnswer

PAGE = 1000
# A backlog may have grown; while it shrinks, there is hope for so long.
DRAIN_SECONDS = 600
# Without any progress for so long, more time won't help. A dead member's lease of 6 s and the backoff of failing events
# are well within this.
STUCK_SECONDS = 40


class NotDrained(Exception):
    """The group does not come to the end."""


def drain(client: Client, group: str) -> list[dict]:
    """Waits until the group's lag is 0; returns its position in each partition."""
    began = moved = time.monotonic()
    before, seen = None, "nothing was answered"
    while True:
        try:
            found = positions(client, group)
            lag = sum(position["lag"] for position in found)
            if found and lag == 0:
                return found
            seen = f"group {group} has {lag} events before it: {found}"
            if found != before:
                before, moved = found, time.monotonic()
        except NoAnswer as reason:
            seen = str(reason)
        now = time.monotonic()
        if now - began > DRAIN_SECONDS or now - moved > STUCK_SECONDS:
            raise NotDrained(f"{seen}, {now - began:.0f} s after the last append")
        time.sleep(0.2)


def positions(client: Client, group: str) -> list[dict]:
    return [
        {
            "partition": extent["partition"],
            "next": extent["next"],
            "committed": position["committed"],
            "lag": position["lag"],
        }
        for extent in client.call(f"/offsets?topic={TOPIC}")
        for position in extent["groups"]
        if position["group"] == group
    ]


def events(client: Client, topic: str):
    """All events of a topic, page by page, partition by partition."""
    for extent in client.call(f"/offsets?topic={topic}"):
        start = extent["first"]
        while True:
            page = client.call(
                f"/read?topic={topic}&partition={extent['partition']}&from={start}&limit={PAGE}"
            )
            if not page["events"]:
                break
            yield from page["events"]
            start = page["next"]


def save(client: Client, folder: pathlib.Path, found: list[dict]) -> None:
    """Writes what the server has into the files of the history."""
    history.write(folder / history.OFFSETS, found)
    history.write(folder / history.LOG, events(client, TOPIC))
    history.write(folder / history.DEAD, events(client, f"{TOPIC}.dead"))
