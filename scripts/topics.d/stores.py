"""The stores that the log is kept in: how a project names each, and what can happen to it.

PostgreSQL and Kafka are the private servers of scripts/services.
"""

import contextlib
import json
import pathlib
import re
import secrets
import signal
import sqlite3
import subprocess
import time
import urllib.parse

import processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ROOT / "scripts" / "services"
STOP_SECONDS = 60
# How long a command of the store's own tools may take.
COMMAND_SECONDS = 120


class StoreError(Exception):
    """A store's server, or a tool of it, did not do what it was asked for."""


class Store:
    """What the stores have in common; `folder` is where a run keeps its files."""

    name = ""
    # The names of the methods that disturb the store.
    troubles: tuple[str, ...] = ()

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.app_name = f"crash-{secrets.token_hex(4)}"

    def open(self) -> None:
        """Starts what is needed, with nothing in it."""

    def close(self) -> None:
        """Takes away what `open` has made, beside the folder."""

    def storage(self) -> dict:
        """The entry of logStorage."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What the store's own programs look for."""
        return {}

    def stop(self) -> None:
        """Takes the store away, until `start`."""
        raise NotImplementedError

    def start(self) -> None:
        """Brings it back."""
        raise NotImplementedError


class Sqlite(Store):
    """The file in the project's folder."""

    name = "sqlite"
    troubles = ("hold", "outage")

    def __init__(self, folder: pathlib.Path):
        super().__init__(folder)
        self.path = folder / "project" / "data" / "production.db"
        self.other: sqlite3.Connection | None = None

    def storage(self) -> dict:
        return {"driver": "sqlite", "path": "data/production.db"}

    def close(self) -> None:
        self.start()

    def hold(self, choice) -> None:
        """Another process has the file's write lock for a while."""
        self.stop()
        time.sleep(choice.uniform(0.2, 2))
        self.start()

    def outage(self, choice) -> None:
        """The same for longer than a lease."""
        self.stop()
        time.sleep(choice.uniform(6.5, 9))
        self.start()

    def stop(self) -> None:
        # Any thread may end it: Ctrl-C, say.
        self.other = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
        self.other.execute("BEGIN EXCLUSIVE")

    def start(self) -> None:
        if self.other:
            self.other.close()
            self.other = None


class Service(Store):
    """A server of scripts/services."""

    variable = ""

    def __init__(self, folder: pathlib.Path):
        super().__init__(folder)
        self.address = ""

    def open(self) -> None:
        self.start()

    def start(self) -> None:
        said = self.services("start")
        found = re.search(rf"^export {self.variable}='(.*)'$", said, re.MULTILINE)
        if not found:
            raise StoreError(f"scripts/services start {self.name} does not say {self.variable}: {said!r}")
        self.address = found[1]

    def stop(self) -> None:
        self.services("stop")

    def environment(self) -> dict[str, str]:
        return {self.variable: self.address}

    def restart(self, _) -> None:
        """The server is stopped in its own way, and started again."""
        self.services("restart")

    def services(self, verb: str) -> str:
        if not (SERVICES.parent / "services.d" / self.name).exists():
            raise StoreError(f"there is no scripts/services.d/{self.name}")
        return command([str(SERVICES), verb, self.name])

    def kill(self, number: int) -> None:
        """Ends the server by a signal to its first process, and starts it again."""
        pid = int((ROOT / "build" / "services" / self.name / "pid").read_text(encoding="ascii"))
        processes.kill(pid, number)
        if processes.wait_for([pid], STOP_SECONDS):
            raise StoreError(f"{self.name}, process {pid}, did not end within {STOP_SECONDS} s")
        self.start()


class Postgres(Service):
    """A database of its own on the private PostgreSQL."""

    name = "postgres"
    variable = "SPACER_TEST_POSTGRES"
    troubles = ("restart", "crash", "cut")

    @property
    def database(self) -> str:
        return self.app_name.replace("-", "_")

    def open(self) -> None:
        super().open()
        self.sql(f"CREATE DATABASE {self.database}")

    def close(self) -> None:
        if self.address:
            self.sql(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")

    def storage(self) -> dict:
        url = urllib.parse.urlsplit(self.address)
        if url.scheme:
            conninfo = urllib.parse.urlunsplit(url._replace(path=f"/{self.database}"))
        else:
            # The last of two settings counts.
            conninfo = f"{self.address} dbname={self.database}"
        return {"driver": "postgres", "connString": conninfo}

    def sql(self, text: str) -> None:
        command(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.address, "-c", text])

    def crash(self, _) -> None:
        """An immediate shutdown, after which the server recovers from its log."""
        self.kill(signal.SIGQUIT)

    def cut(self, choice) -> None:
        """All connections are cut, in mid-commit too, several times in a row."""
        for _ in range(choice.randint(1, 6)):
            self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.database}'")
            time.sleep(choice.uniform(0, 0.2))


class Kafka(Service):
    """Topics of its own on the private broker: appName begins their names."""

    name = "kafka"
    variable = "SPACER_TEST_KAFKA"
    troubles = ("restart", "crash")

    def storage(self) -> dict:
        return {"driver": "kafka", "brokers": [self.address]}

    def crash(self, _) -> None:
        """The broker is killed."""
        self.kill(signal.SIGKILL)


STORES: dict[str, type[Store]] = {store.name: store for store in (Sqlite, Postgres, Kafka)}


def here() -> list[str]:
    """The stores that can be had: the embedded one, and those that scripts/services knows."""
    folder = SERVICES.parent / "services.d"
    return [name for name in STORES if name == "sqlite" or (folder / name).exists()]


def places(store: Store) -> dict[str, str]:
    """What stands for the store in a project's application.yml."""
    return {"APP_NAME": store.app_name, "STORAGE": json.dumps(store.storage())}


@contextlib.contextmanager
def opened(store: Store):
    try:
        store.open()
        yield store
    finally:
        store.close()


def command(line: list[str]) -> str:
    """What a command prints. It runs in a session of its own: a server that it starts is not for Ctrl-C to end."""
    try:
        run = subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise StoreError(str(failure)) from failure
    if run.returncode:
        raise StoreError(f"{' '.join(line)} ended with {run.returncode}: {run.stderr.strip()}")
    return run.stdout
