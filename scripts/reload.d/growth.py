"""What a master, and a worker that it has just started, hold on to: memory, descriptors, shared memory."""

import os
import pathlib
import re
import time

import processes
from server import Server

SETTLE_SECONDS = 0.5

# By how much more, in KiB, one moment's memory may differ from another's: heaps are fuller at one than at another.
SLACK = {"resident, KiB": 512, "private, KiB": 512, "descriptors": 0, "shared, KiB": 0, "mappings": 12}


def of_process(pid: int) -> dict[str, int]:
    private = shared = 0
    maps = pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace")
    mappings = 0
    is_shared = False
    for line in maps.splitlines():
        if head := re.match(r"[0-9a-f]+-[0-9a-f]+ ...([ps]) ", line):
            mappings += 1
            is_shared = head[1] == "s"
        elif line.startswith(("Private_Dirty:", "Private_Clean:")):
            private += int(line.split()[1])
        elif line.startswith("Size:") and is_shared:
            shared += int(line.split()[1])
    return {
        "resident, KiB": processes.resident(pid),
        "private, KiB": private,
        "shared, KiB": shared,
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "mappings": mappings,
    }


def measure(server: Server) -> dict[str, dict[str, int]]:
    """The master, and the worker that came first."""
    # The master closes its channel to a worker some time after that has gone.
    time.sleep(SETTLE_SECONDS)
    return {"master": of_process(server.master()), "fresh worker": of_process(server.workers()[0])}


def table(before: dict, after: dict) -> tuple[str, list[str]]:
    """Who holds how much of what, before and after, as lines; and what has grown."""
    rows, grown = [], []
    for who, values in before.items():
        for what, value in values.items():
            more = after[who][what] - value
            is_good = more <= SLACK[what]
            verdict = "ok" if is_good else "grown"
            rows.append([who, what, str(value), str(after[who][what]), f"{more:+d}", str(SLACK[what]), verdict])
            if not is_good:
                grown.append(f"{who}: {what} from {value} to {after[who][what]}")
    head = ["process", "what", "before", "after", "grown by", "at most", ""]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines), grown
