"""Requests that sleep: how much memory of the worker each takes while it waits."""

import contextlib
import http.client
import resource
import socket
import time

from load import LoadError
from report import table
from server import Server

COUNT = 10_000
HANDLER = "sleepers"
# nginx closes connections that have asked for nothing when a sixteenth is left; files take descriptors, too.
CONNECTIONS = COUNT * 9 // 8
WARM_UP = 100
SECONDS = 60
# The most of it, to the peer's.
TARGET = 1.0


def raise_limit() -> None:
    """Each request takes a descriptor here, and one in nginx, which inherits the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS:
        raise LoadError(f"this takes {CONNECTIONS} descriptors in a process, and {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS, hard))


def measure(nginx: str, name: str, modules: list[str], core: int) -> float:
    """Bytes of the worker's own memory for each of the requests."""
    server = Server(nginx, name, modules, core, connections=CONNECTIONS)
    server.handlers = [HANDLER]
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        if refusal := server.refuses(HANDLER):
            raise LoadError(f"nginx refuses {name}: {refusal}")
        server.start()
        sleep(stack, server.port, WARM_UP)
        before = server.memory()["private"]
        sleep(stack, server.port, COUNT)
        return (server.memory()["private"] - before) * 1024 / (COUNT - WARM_UP)


def sleep(stack: contextlib.ExitStack, port: int, count: int) -> None:
    """Has requests sleep, until so many do."""
    for _ in range(count - asleep(port)):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
        connection.sendall(f"GET /{HANDLER} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    deadline = time.monotonic() + SECONDS
    while (found := asleep(port)) != count:
        if time.monotonic() > deadline:
            raise LoadError(f"{found} of {count} requests sleep after {SECONDS} s")
        time.sleep(0.05)


def asleep(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/asleep")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def report(ours: float, peer: float | None) -> tuple[str, bool]:
    """A table of it, and whether it is as good as it has to be."""
    ratio = ours / peer if peer else None
    is_good = ratio is None or ratio <= TARGET
    row = [
        "sleepers",
        f"{COUNT} requests that sleep",
        f"{ours:.0f}",
        f"{peer:.0f}" if peer else "-",
        f"{ratio:.2f}" if ratio else "-",
        f"{TARGET:.2f}",
        "" if ratio is None else "ok" if is_good else "over",
    ]
    return table(["bytes", "of a worker, for each of", "ours", "peer", "ratio", "target", ""], [row]), is_good
