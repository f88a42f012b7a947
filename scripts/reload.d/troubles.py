"""What happens to nginx while it serves: an administrator's signals, an upgrade of the binary, a worker's crash.

Each is a function of the server that returns when nginx is itself again, with what was wrong on the way. What it yields to
its caller is whether requests that were under way may fail: those of a worker that was killed do.
"""

import collections
import signal
import time
from dataclasses import dataclass, field

import processes
from server import Server, until


@dataclass
class Outcome:
    """What has become of the processes."""

    # Workers that were asked to finish what they do, and then left.
    left: list[int] = field(default_factory=list)
    # Requests that began before may fail: a time of the clock that time.monotonic() reads.
    excused_until: float = 0.0


def reload(server: Server) -> Outcome:
    before = server.workers()
    server.reload()
    return Outcome(left=before)


def crash(server: Server) -> Outcome:
    """A worker is killed, and the master starts another. What the worker had accepted is lost, whatever it was."""
    pid = server.workers()[0]
    processes.kill(pid)
    until("the end of a worker that was killed", lambda: processes.is_zombie(pid))
    gone = time.monotonic()
    until("another worker", server.are_all_there)
    return Outcome(excused_until=gone)


def upgrade(server: Server) -> Outcome:
    """A new master beside the old one, whose workers leave, and then the old one itself."""
    old, before = server.master(), server.workers()
    _start_new(server, old)
    processes.kill(old, signal.SIGWINCH)
    until("the end of the old workers", lambda: not server.workers(old))
    processes.kill(old, signal.SIGQUIT)
    until("the end of the old master", lambda: not processes.wait_for([old], 0))
    until("the new pid file", lambda: server.master() not in (0, old))
    return Outcome(left=before)


def roll_back(server: Server) -> Outcome:
    """A new master beside the old one, whose workers leave, come back, and stay while the new master goes."""
    old, before = server.master(), server.workers()
    new = _start_new(server, old)
    processes.kill(old, signal.SIGWINCH)
    until("the end of the old workers", lambda: not server.workers(old))
    processes.kill(old, signal.SIGHUP)
    until("the old master's workers", lambda: len(server.workers(old)) == server.worker_count)
    until("their first note", lambda: server.noted("began").keys() >= set(server.workers(old)))
    news = server.workers(new)
    processes.kill(new, signal.SIGQUIT)
    until("the end of the new master", lambda: not processes.wait_for([new], 0))
    until("the old pid file", lambda: server.master() == old)
    return Outcome(left=before + news)


def _start_new(server: Server, old: int) -> int:
    processes.kill(old, signal.SIGUSR2)
    until("the old master's other pid file", lambda: server.master(".oldbin") == old)
    new = until("a new master", lambda: (pid := server.master()) not in (0, old) and pid)
    until("the new master's workers", server.are_all_there)
    return new


KINDS = {"HUP": reload, "kill -9 of a worker": crash, "USR2, WINCH, QUIT": upgrade, "USR2, WINCH, HUP, QUIT": roll_back}

# What each worker says when it leaves: of a timer that waits, of one that comes again, of one that waits when it is told.
FAREWELL = (
    "waited, premature: true",
    "repeats, premature: true",
    "waited and slept, premature: true",
    "left",
)


def wrong_farewells(server: Server, left: list[int]) -> list[str]:
    """Of workers that were asked to leave, those that did not say all, or something more than once."""
    found = []
    for what in FAREWELL:
        noted = server.noted(what)
        counts = collections.Counter(noted[pid] for pid in left if noted[pid] != 1)
        found += [f"{workers} workers said \"{what}\" {count} times" for count, workers in counts.items()]
    return found
