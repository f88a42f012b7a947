"""What happens to the server and its store while the load goes on: in each round, one trouble at a random moment."""

import random
import signal
import time

import processes
from nginx import Nginx
from stores import Store

# How long the load goes on before a trouble, in seconds.
BEFORE = (0.1, 1.5)
# How long workers may live on without their master.
ORPHANED = (0.0, 0.5)
KILL_SECONDS = 10
# More than worker_shutdown_timeout, after which nginx closes what still runs.
GRACEFUL_SECONDS = 20


class Killer:
    """Picks troubles by its seed: each kind once, in random order, then all of them again."""

    KINDS = ("worker", "workers", "master", "everything", "reload", "quit")

    def __init__(self, nginx: Nginx, store: Store, seed: int):
        self.nginx, self.store = nginx, store
        self.choice = random.Random(seed)
        self.bag: list[str] = []

    def next(self) -> str:
        """The kind of the next round's trouble."""
        if not self.bag:
            self.bag = [*self.KINDS, *self.store.troubles]
            self.choice.shuffle(self.bag)
        return self.bag.pop()

    def strike(self, kind: str) -> None:
        """Waits for a random moment, makes the trouble, and starts what has to be started again."""
        time.sleep(self.choice.uniform(*BEFORE))
        if kind in self.store.troubles:
            getattr(self.store, kind)(self.choice)
        else:
            getattr(self, f"_{kind}")()

    def _worker(self) -> None:
        """nginx's master starts another one."""
        if workers := self.nginx.workers():
            processes.kill(self.choice.choice(workers))

    def _workers(self) -> None:
        for pid in self.nginx.workers():
            processes.kill(pid)

    def _master(self) -> None:
        """Its workers serve on until they are ended too, at once or gracefully."""
        workers = self.nginx.workers()
        processes.kill(self.nginx.master)
        time.sleep(self.choice.uniform(*ORPHANED))
        number = self.choice.choice([signal.SIGKILL, signal.SIGQUIT])
        for pid in workers:
            processes.kill(pid, number)
        for pid in processes.wait_for([self.nginx.master, *workers], GRACEFUL_SECONDS):
            processes.kill(pid)
        self._start()

    def _everything(self) -> None:
        # The master first: it must not start others.
        for pid in (self.nginx.master, *self.nginx.workers()):
            processes.kill(pid)
        self._start()

    def _reload(self) -> None:
        processes.kill(self.nginx.master, signal.SIGHUP)

    def _quit(self) -> None:
        self.nginx.end(signal.SIGQUIT, GRACEFUL_SECONDS)
        self._start()

    def _start(self) -> None:
        """Starts nginx when nothing is left of the one before: its workers have the port."""
        left = processes.wait_for([self.nginx.master, *self.nginx.orphans()], KILL_SECONDS)
        for pid in [*left, *self.nginx.orphans()]:
            processes.kill(pid)
        processes.wait_for([*left, *self.nginx.orphans()], KILL_SECONDS)
        self.nginx.start()
