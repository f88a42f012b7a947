"""What the server does while its store is away: plain functions as before, appends refused in time, memory bounded, and
two lines in each worker's log."""

import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import processes
from client import Client, NoAnswer
from cputime import Meter
from nginx import Nginx
from stores import Store
from throughput import LoadError, finish_appends, start_appends

APPENDS = 20
BACK_SECONDS = 60
AWAY, BACK = "is unavailable", "event log is back"


@dataclass
class Outage:
    """Times in seconds, memory in KiB."""

    plain_before: float = 0.0
    plain_during: float = 0.0
    # Of appends while the store is away.
    statuses: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    memory_before: int = 0
    memory_most: int = 0
    back_after: float = 0.0
    # Of each worker: how often it has said that the store is away, and that it is back.
    said: list[tuple[int, int]] = field(default_factory=list)


def plain(nginx: Nginx, seconds: float) -> float:
    """CPU time a request of a function that doesn't use the log, of all workers and their threads."""
    meters = [Meter(pid) for pid in nginx.workers()]
    try:
        before = [meter.read().total for meter in meters]
        run = subprocess.run(
            ["wrk", "-t1", "-c16", f"-d{seconds:.0f}s", f"http://127.0.0.1:{nginx.port}/plain"],
            capture_output=True,
            text=True,
            check=False,
        )
        spent = sum(meter.read().total for meter in meters) - sum(before)
    finally:
        for meter in meters:
            meter.close()
    count = next((int(line.split()[0]) for line in run.stdout.splitlines() if " requests in " in line), 0)
    if run.returncode or not count or "Non-2xx" in run.stdout:
        raise LoadError(f"/plain: {run.stdout.strip()} {run.stderr.strip()}")
    return spent / count


def measure(nginx: Nginx, store: Store, seconds: float) -> Outage:
    found = Outage()
    seen = len(nginx.log_text())
    # Once for what the first requests set up.
    plain(nginx, 1)
    found.plain_before = plain(nginx, seconds)
    found.memory_before = _memory(nginx)
    store.stop()
    try:
        _appends(nginx.port, found)
        found.plain_during = plain(nginx, seconds)
        # Many who don't give up, and a queue that fills.
        wrk = start_appends(nginx.port, 20, 3 * seconds)
        while wrk.poll() is None:
            found.memory_most = max(found.memory_most, _memory(nginx))
            time.sleep(0.2)
        result = finish_appends(wrk)
        found.statuses["refused"] += result["refused"]
        found.statuses["no answer"] += result["broken"]
        found.statuses[200] += result["requests"] - result["refused"]
    finally:
        store.start()
    found.back_after = _wait_until_back(nginx)
    found.memory_most = max(found.memory_most, _memory(nginx))
    lines = nginx.log_text()[seen:].splitlines()
    for pid in nginx.workers():
        mine = [line for line in lines if f" {pid}#" in line]
        found.said.append((sum(AWAY in line for line in mine), sum(BACK in line for line in mine)))
    return found


def _memory(nginx: Nginx) -> int:
    return sum(processes.resident(pid) for pid in nginx.workers())


def _appends(port: int, found: Outage) -> None:
    """Several appends at once; each must be refused in time."""

    def append(number: int) -> None:
        client = Client(port, timeout=30)
        began = time.monotonic()
        try:
            body = {"topic": "load-1", "entries": {f"key-{number}": number}}
            status = client.ask("POST", "/append", body)[0]
        except NoAnswer:
            status = "no answer"
        took = time.monotonic() - began
        client.close()
        with lock:
            found.statuses[status] += 1
            found.slowest = max(found.slowest, took)

    lock = threading.Lock()
    threads = [threading.Thread(target=append, args=(number,), daemon=True) for number in range(APPENDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _wait_until_back(nginx: Nginx) -> float:
    """How long it takes until each worker has taken an append again."""
    began = time.monotonic()
    good = 0
    while good < 10 * len(nginx.workers()):
        # Another connection each time, so that it reaches any worker.
        client = Client(nginx.port)
        try:
            status, _ = client.ask("POST", "/append", {"topic": "load-1", "entries": {"back": 1}})
        except NoAnswer:
            status = 0
        client.close()
        good = good + 1 if status == 200 else 0
        if time.monotonic() - began > BACK_SECONDS:
            raise LoadError(f"appends are not taken again within {BACK_SECONDS} s of the store's return")
        if status != 200:
            time.sleep(0.1)
    took = time.monotonic() - began
    # Members that wait between two tries say it later.
    time.sleep(3)
    return took
