"""The nginx of the test: masters that come and go on one listener, their workers, and what they have written to the log."""

import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import processes

SECONDS = 30
TEMPLATE = pathlib.Path(__file__).resolve().parents[2] / "t" / "reload"


class ServerError(Exception):
    """nginx did not do what it was asked for."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what: str, ready, seconds: float = SECONDS):
    """Waits for a value that counts as true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > deadline:
            raise ServerError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(0.003)
    return found


class Server:
    """It is a daemon, as a binary can be upgraded only then. Whatever it leaves behind is this process's child."""

    def __init__(self, folder: pathlib.Path, module: str, workers: int):
        self.binary = os.environ.get("NGINX", "/usr/sbin/nginx")
        self.folder, self.port, self.worker_count = folder, free_port(), workers
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
        places = {
            "MODULE": module,
            "USER": "user root;" if os.geteuid() == 0 else "",
            "WORKERS": str(workers),
            "PROJECT": str(folder / "project"),
            "PORT": str(self.port),
        }
        text = (folder / "nginx.conf").read_text(encoding="utf-8")
        for name, value in places.items():
            text = text.replace(f"@{name}@", value)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        self.masters: set[int] = set()

    def start(self) -> None:
        command = [self.binary, "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "error.log"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ServerError(f"nginx does not start: {run.stderr.strip()}")
        until("a master and its workers", lambda: self.master() and self.are_all_there())

    def master(self, suffix: str = "") -> int:
        """The master that a pid file names, or 0; ".oldbin" is the old one's while there are two."""
        try:
            pid = int((self.folder / f"nginx.pid{suffix}").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0
        if processes.is_zombie(pid):
            return 0
        self.masters.add(pid)
        return pid

    def workers(self, master: int = 0) -> list[int]:
        """A new master is a child of the old one, too."""
        pids = processes.children(master or self.master())
        return [pid for pid in pids if processes.name(pid).startswith("nginx: worker")]

    def are_all_there(self) -> bool:
        """Whether all workers of the master have begun to serve."""
        pids = self.workers()
        return len(pids) == self.worker_count and self.noted("began").keys() >= set(pids)

    def reload(self) -> None:
        """Returns when the old workers are gone."""
        master = self.master()
        before = set(self.workers())
        processes.kill(master, signal.SIGHUP)
        until("other workers", lambda: not before & set(self.workers()) and self.are_all_there())

    def kill(self) -> None:
        """Ends everything that was started, in whatever state it is."""
        for suffix in ("", ".oldbin"):
            self.master(suffix)
        pids = sorted(self.masters) + [pid for pid in processes.children(os.getpid()) if self.is_mine(pid)]
        pids += [worker for pid in pids for worker in processes.children(pid)]
        for pid in dict.fromkeys(pids):
            if self.is_mine(pid):
                processes.kill(pid)
        processes.wait_for(pids, SECONDS)

    def is_mine(self, pid: int) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/cwd") == str(self.folder) or f"-p {self.folder}/ " in processes.name(pid)
        except (FileNotFoundError, ProcessLookupError):
            return False

    def log(self) -> str:
        file = self.folder / "error.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def noted(self, what: str) -> collections.Counter:
        """How often each worker's Lua has noted that."""
        return collections.Counter(int(pid) for pid in re.findall(rf"noted: {re.escape(what)} (\d+)", self.log()))
