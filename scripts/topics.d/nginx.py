"""An nginx that serves a project with topics, in a folder and on a port of its own."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import processes

START_SECONDS = 20
STOP_SECONDS = 20


class NginxError(Exception):
    """nginx did not do what it was asked for."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Nginx:
    """A master and its workers. `template` is a folder with nginx.conf, app/ and config/application.yml."""

    def __init__(self, template: pathlib.Path, folder: pathlib.Path, places: dict[str, str]):
        self.binary = os.environ.get("NGINX", "/usr/sbin/nginx")
        self.folder, self.port = folder, free_port()
        self.environment: dict[str, str] = {}
        self.master = 0
        # Of each master that was started: its workers are in it, even those that have outlived it.
        self.sessions: set[int] = set()
        shutil.copytree(template, folder / "project")
        places = {
            "PROJECT": str(folder / "project"),
            "PORT": str(self.port),
            "USER": "user root;" if os.geteuid() == 0 else "",
            **places,
        }
        for file in (folder / "project" / "config" / "application.yml", folder / "project" / "nginx.conf"):
            file.write_text(fill(file.read_text(encoding="utf-8"), places), encoding="utf-8")
        (folder / "project" / "nginx.conf").rename(folder / "nginx.conf")

    @property
    def log(self) -> pathlib.Path:
        return self.folder / "error.log"

    def start(self) -> None:
        """Starts a master, in a session of its own: Ctrl-C is for the script, which then stops it."""
        command = [self.binary, "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "error.log"]
        seen = len(self.log_text())
        with (self.folder / "stderr.log").open("ab") as errors:
            # processes.wait_for is what waits for it.
            self.master = subprocess.Popen(  # pylint: disable=consider-using-with
                command,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **self.environment},
            ).pid
        self.sessions.add(self.master)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if processes.is_zombie(self.master) or time.monotonic() > deadline:
                    said = self.log_text()[seen:].strip() or "it says nothing"
                    raise NginxError(f"nginx does not start: {said}") from None
                time.sleep(0.02)

    def workers(self) -> list[int]:
        return processes.children(self.master) if self.master else []

    def orphans(self) -> list[int]:
        """What is left of masters that are gone: this process has adopted their workers. A master that a signal to this
        process has kept from being known is one of them."""
        return [pid for pid in processes.children(os.getpid()) if pid != self.master and self._is_mine(pid)]

    def _is_mine(self, pid: int) -> bool:
        try:
            return os.getsid(pid) in self.sessions or f" -p {self.folder}/ " in processes.name(pid)
        except ProcessLookupError:
            return False

    def kill(self) -> None:
        """Ends everything that was started, in whatever state it is."""
        pids = [self.master] if self.master else []
        self.master = 0
        pids += self.orphans()
        self.sessions.update(pids)
        # Masters first: they must not start others.
        for pid in pids:
            processes.kill(pid)
        processes.wait_for(pids, STOP_SECONDS)
        for pid in (left := self.orphans()):
            processes.kill(pid)
        processes.wait_for(left, STOP_SECONDS)

    def quit(self) -> None:
        """Stops it as an administrator does, gracefully."""
        self.end(signal.SIGQUIT)

    def end(self, number: int, seconds: float = STOP_SECONDS) -> None:
        if not self.master:
            return
        everyone = [self.master, *self.workers()]
        processes.kill(self.master, number)
        left = processes.wait_for(everyone, seconds)
        self.master = 0
        if left:
            for pid in left:
                processes.kill(pid)
            processes.wait_for(left, seconds)
            raise NginxError(f"processes {left} did not end within {seconds:.0f} s of {signal.Signals(number).name}")

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def complaints(self, levels: str) -> list[str]:
        """The lines of the error log at these levels, which are separated by "|"."""
        return [line for line in self.log_text().splitlines() if re.search(rf"\[({levels})\]", line)]


def fill(template: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        template = template.replace(f"@{name}@", value)
    return template
