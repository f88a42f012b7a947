"""Requests: one, to see what is answered, and many, to keep a worker busy."""

import http.client
import json
import re
import subprocess
from dataclasses import dataclass

from cases import Case

CONNECTIONS = 16


class LoadError(Exception):
    """The load generator saw something else than good answers."""


@dataclass(frozen=True)
class Answer:
    """A response, without the headers that differ from one to the next."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes

    def matches(self, other: "Answer") -> bool:
        if (self.status, self.headers) != (other.status, other.headers):
            return False
        return self.body == other.body or same_json(self.body, other.body)

    def __str__(self) -> str:
        headers = ", ".join(f"{name}: {value}" for name, value in sorted(self.headers))
        return f"{self.status} ({headers}) {self.body[:200]!r}"


def same_json(one: bytes, other: bytes) -> bool:
    """Whether both are the same document; the order of an object's keys is no part of it."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def ask(port: int, case: Case) -> Answer | None:
    """What is answered; None when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.putrequest("GET", case.url, skip_accept_encoding=True)
        for line in case.headers:
            connection.putheader(*line.split(": ", 1))
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    # Chunked or not, the body is the same; how it is framed is the module's choice.
    passing = {"date", "content-length", "transfer-encoding"}
    headers = ((name.lower(), value) for name, value in response.getheaders())
    return Answer(response.status, frozenset(pair for pair in headers if pair[0] not in passing), body)


def load(port: int, url: str, seconds: int, core: int, *, headers=(), script=()) -> int:
    """Keeps the server busy from one core; returns the number of requests that were answered."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    for line in headers:
        command += ["-H", line]
    if script:
        command += ["-s", script[0]]
    command += [f"http://127.0.0.1:{port}{url}", *(("--", *script[1:]) if script else ())]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^\s*(\d+) requests in ", run.stdout, re.MULTILINE)
    failures = re.findall(r"^\s*((?:Non-2xx|Socket errors).*)$", run.stdout, re.MULTILINE)
    if run.returncode or not found or not int(found[1]):
        raise LoadError(run.stderr.strip() or run.stdout.strip() or f"wrk ended with {run.returncode}")
    if failures:
        raise LoadError(f"{url}: {'; '.join(failures)}")
    return int(found[1])
