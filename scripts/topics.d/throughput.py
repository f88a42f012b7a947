"""How many events a second are appended: over HTTP, by wrk, and in the plain loop that is the store's ceiling."""

import json
import os
import pathlib
import re
import subprocess

from stores import ROOT, Store, StoreError

CONNECTIONS = 64
SCRIPT = ROOT / "bench" / "topics" / "append.lua"
# A plain loop of the driver's own example prints it so.
PLAIN_LOOP = re.compile(r"(?:plain loop|producer test)[^:\n]*[: ]\s*([\d.]+)/s")


class LoadError(Exception):
    """wrk did not do its work."""


def start_appends(port: int, batch: int, seconds: float, path: str = "/append") -> subprocess.Popen:
    """Starts so many keep-alive connections that each append so many events a request, or ask for another path so."""
    return subprocess.Popen(
        [
            "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--timeout", "20s", "-s", str(SCRIPT),
            f"http://127.0.0.1:{port}/append", "--", str(batch), path,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def finish_appends(wrk: subprocess.Popen) -> dict:
    said = wrk.communicate()[0]
    found = re.search(r"^result (\{.*\})$", said, re.MULTILINE)
    if wrk.returncode or not found:
        raise LoadError(f"wrk ended with {wrk.returncode}: {said.strip()}")
    return json.loads(found[1])


def appends(port: int, batch: int, seconds: float, path: str = "/append") -> float:
    """Events a second. Every one of them must be acknowledged."""
    result = finish_appends(start_appends(port, batch, seconds, path))
    if result["refused"] or result["broken"]:
        raise LoadError(f"{result['refused']} appends were refused, {result['broken']} had no answer")
    return result["requests"] * batch / result["microseconds"] * 1e6


def ceiling(store: Store, folder: pathlib.Path, batch: int, seconds: float) -> float:
    """Events a second of the store's client library in a plain loop. On SQLite a commit has as many events as all
    connections have on their way; the other stores' own example chooses its groups."""
    if store.name == "sqlite":
        file = folder / f"ceiling-{batch}.db"
        arguments = ["sqlite_ceiling", "--", str(file), str(batch * CONNECTIONS), f"{seconds:.0f}"]
        try:
            return float(_example(store, arguments))
        finally:
            for left in folder.glob(f"{file.name}*"):
                left.unlink()
    jars = str(ROOT / "build" / "services" / "kafka" / "jars")
    where = store.storage().get("connString", jars)
    said = _example(store, [f"{store.name}_throughput", "--", where, f"{seconds:.0f}"])
    rates = [float(rate) for rate in PLAIN_LOOP.findall(said)]
    if not rates:
        raise StoreError(f"{store.name}_throughput prints no rate of a plain loop: {said}")
    return sorted(rates)[len(rates) // 2]


def _example(store: Store, arguments: list[str]) -> str:
    line = ["cargo", "run", "--quiet", "--release", "-p", "eventlog", "--example", *arguments]
    environment = {**os.environ, **store.environment()}
    run = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise StoreError(f"{' '.join(line)} ended with {run.returncode}: {run.stderr.strip()}")
    return run.stdout
