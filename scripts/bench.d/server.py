"""An instance of nginx with one module, in a folder and on ports of its own."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"


class ServerError(Exception):
    """nginx did not do what it was started for."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One nginx: a master, and a worker on a core of its own."""

    def __init__(
        self, nginx: str, name: str, modules: list[str], core: int, *, project: bool = False, connections: int = 256
    ):
        self.nginx, self.name, self.modules, self.core, self.project = nginx, name, modules, core, project
        self.connections = connections
        self.handlers: list[str] = []
        self.process: subprocess.Popen | None = None
        self.port = self.gateway_port = 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"spacer-bench-{name}-"))
        shutil.copytree(BENCH / "project", self.folder / "project")

    @property
    def log(self) -> pathlib.Path:
        return self.folder / "error.log"

    def refuses(self, handler: str | None = None) -> str | None:
        """What nginx says against a configuration with this handler, or with none; None when it takes it."""
        self._configure([handler] if handler else [])
        run = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            return None
        lines = [line for line in run.stderr.splitlines() if "[emerg]" in line] or run.stderr.splitlines()
        return lines[0].strip() if lines else f"nginx -t ended with {run.returncode}"

    def start(self) -> None:
        self.log.unlink(missing_ok=True)
        self._configure(self.handlers)
        # In a session of its own, so that Ctrl-C reaches this process alone, which then stops the server.
        self.process = subprocess.Popen(
            self._command(), start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise ServerError(f"nginx with {self.name} does not start: {self.complaints()}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                workers = self._children()
                self.process.kill()
                self.process.wait()
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def worker(self) -> int:
        """The worker's process id; after a crash, that of the one in its place."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if len(children := self._children()) == 1:
                return children[0]
            time.sleep(0.02)
        raise ServerError(f"nginx with {self.name} has no worker: {self.complaints()}")

    def complaints(self) -> list[str]:
        """What stands in the error log at level error or worse."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        levels = ("[error]", "[crit]", "[alert]", "[emerg]")
        return [line for line in text.splitlines() if any(level in line for level in levels)]

    def memory(self) -> dict[str, int]:
        """The worker's memory, in KiB: resident; its share of that; and what is its alone."""
        fields = {}
        for line in pathlib.Path(f"/proc/{self.worker()}/smaps_rollup").read_text(encoding="ascii").splitlines():
            parts = line.split()
            if parts[-1] == "kB":
                fields[parts[0]] = int(parts[1])
        return {
            "rss": fields["Rss:"],
            "pss": fields["Pss:"],
            "private": fields["Private_Clean:"] + fields["Private_Dirty:"],
        }

    def _children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _command(self) -> list[str]:
        return [self.nginx, "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "error.log"]

    def _configure(self, handlers: list[str]) -> None:
        self.port, self.gateway_port = free_port(), free_port()
        places = {
            "LOAD_MODULES": "\n".join(f'load_module "{module}";' for module in self.modules),
            "USER": "user root;" if os.geteuid() == 0 else "",
            "AFFINITY": bin(1 << self.core)[2:],
            "CONNECTIONS": str(self.connections),
            "HTTP": "".join(read(f"handlers/{handler}.http.conf") for handler in handlers),
            "LOCATIONS": "\n".join(read(f"handlers/{handler}.conf") for handler in handlers),
            "GATEWAY": read("gateway.conf") if self.project else "",
            "PROJECT": f"{self.folder}/project",
            "PORT": str(self.port),
            "GATEWAY_PORT": str(self.gateway_port),
        }
        (self.folder / "nginx.conf").write_text(fill(read("nginx.conf"), places))


def read(name: str) -> str:
    """A file of the benchmark's configuration; nothing when there is none of that name."""
    file = BENCH / name
    return file.read_text() if file.exists() else ""


def fill(template: str, places: dict[str, str]) -> str:
    # In the order given: what one name stands for may hold those after it.
    for name, value in places.items():
        template = template.replace(f"@{name}@", value)
    return template
