"""Clients that ask for each kind of request, one after the other, and what became of every request."""

import dataclasses
import socket
import threading
import time

KINDS = ("return", "plain", "sleep", "threads", "timer", "capture", "shared", "function")
TIMEOUT = 30


@dataclasses.dataclass
class Failure:
    kind: str
    # Of the clock that time.monotonic() reads.
    began: float
    why: str


def body_of(kind: str) -> bytes:
    if kind == "function":
        return b'{"data":"answer"}\n'
    return ("slow" if kind.startswith("slow") else kind).encode() + b"\n"


class Client:
    """A connection that is kept, or is made for each request."""

    def __init__(self, port: int, *, keeps: bool):
        self.port, self.keeps = port, keeps
        self.socket: socket.socket | None = None

    def ask(self, kind: str) -> str:
        """Why the request has failed; nothing when it hasn't."""
        kept = self.socket is not None
        why, got = self._once(kind)
        if why and kept and not got:
            # nginx may close a connection that is idle at any time, and clients then ask once more.
            why, _ = self._once(kind)
        return why

    def _once(self, kind: str) -> tuple[str, bytes]:
        got = b""
        try:
            if not self.socket:
                self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
            connection = "keep-alive" if self.keeps else "close"
            self.socket.sendall(f"GET /{kind} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n".encode())
            while not is_whole(got):
                more = self.socket.recv(65536)
                if not more:
                    break
                got += more
        except OSError as failure:
            self.close()
            return f"{failure} after {len(got)} bytes", got
        head, _, _ = got.partition(b"\r\n\r\n")
        if not self.keeps or b"\r\nConnection: close" in head or not got:
            self.close()
        if not is_whole(got):
            self.close()
            return f"closed after {len(got)} bytes", got
        if not got.startswith(b"HTTP/1.1 200 ") or content(got) != body_of(kind):
            return f"answered {got!r}", got
        return "", got

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if b"\r\nTransfer-Encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
    return len(body) >= int(length.partition(b":")[2])


def content(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"\r\nTransfer-Encoding: chunked" not in head:
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


class Load:
    """Two clients for each kind of request, one of which keeps its connection, until it is stopped."""

    def __init__(self, port: int):
        self.port = port
        self.answered = dict.fromkeys(KINDS, 0)
        self.failures: list[Failure] = []
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(kind, keeps), daemon=True)
            for kind in KINDS
            for keeps in (False, True)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for_each(self, count: int, seconds: float) -> list[str]:
        """Waits until so many more requests of each kind are answered; returns those kinds of which there are fewer."""
        before = dict(self.answered)
        deadline = time.monotonic() + seconds
        while True:
            left = [kind for kind in KINDS if self.answered[kind] < before[kind] + count]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.01)

    def _run(self, kind: str, keeps: bool) -> None:
        client = Client(self.port, keeps=keeps)
        while not self._stopped.is_set():
            began = time.monotonic()
            why = client.ask(kind)
            with self._lock:
                if why:
                    self.failures.append(Failure(kind, began, why))
                else:
                    self.answered[kind] += 1
            # What costs nothing would leave the processor to nobody else.
            time.sleep(0.02 if why else 0.002)
        client.close()
