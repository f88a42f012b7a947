"""The end of a server that has requests under way: after QUIT they are answered, after TERM they are not, and it leaves at once."""

import signal
import threading

import processes
from load import Client
from server import Server, until
from troubles import FAREWELL, wrong_farewells

SLOW = ("slow", "slow-threads", "slow-timer", "slow-late-timer", "slow-capture")
# Of each.
COUNT = 5


def quit_serving(server: Server) -> list[str]:
    """QUIT, and whatever was wrong. A worker stops accepting first, so what it has accepted is known before."""
    failed: list[str] = []

    def ask(kind: str) -> None:
        if why := Client(server.port, keeps=False).ask(kind):
            failed.append(f"{kind}: {why}")

    threads = [threading.Thread(target=ask, args=(kind,), daemon=True) for kind in SLOW * COUNT]
    workers = _begin(server, threads, len(threads) + COUNT)
    _end(server, signal.SIGQUIT)
    for thread in threads:
        thread.join()
    return failed + wrong_farewells(server, workers)


def terminate_serving(server: Server) -> list[str]:
    """TERM, and whatever was wrong. Nobody waits for requests, nor for timers, but `exit_worker_by_lua` runs."""
    threads = [
        threading.Thread(target=lambda: Client(server.port, keeps=False).ask("endless"), daemon=True) for _ in range(COUNT)
    ]
    workers = _begin(server, threads, COUNT)
    _end(server, signal.SIGTERM)
    left = server.noted(FAREWELL[-1])
    told = [what for what in FAREWELL[:-1] if server.noted(what).keys() & set(workers)]
    return [f"worker {pid} left {left[pid]} times" for pid in workers if left[pid] != 1] + [
        f"a timer was told: {what}" for what in told
    ]


def _begin(server: Server, threads: list[threading.Thread], asked: int) -> list[int]:
    """Starts the clients, and returns the workers when these have accepted so many requests."""
    before = server.noted("asked").total()
    for thread in threads:
        thread.start()
    until("accepted requests", lambda: server.noted("asked").total() >= before + asked)
    return server.workers()


def _end(server: Server, number: int) -> None:
    everyone = [server.master(), *server.workers()]
    processes.kill(everyone[0], number)
    until(f"the end after {signal.Signals(number).name}", lambda: not processes.wait_for(everyone, 0))
