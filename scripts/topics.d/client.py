"""A connection to the server under test that is kept alive, and the calls of the project's functions over it."""

import http.client
import json
import select

# An append fails at the append timeout, 5 s, at the latest.
ANSWER_SECONDS = 15


class NoAnswer(Exception):
    """What came of the request is unknown."""


class Client:
    """One connection, made when it is needed and made again after a failure."""

    def __init__(self, port: int, timeout: float = ANSWER_SECONDS):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def connect(self) -> bool:
        """Whether there is a connection: what is sent over it may arrive. One that the server has closed meanwhile is
        made again."""
        try:
            if self.connection.sock and select.select([self.connection.sock], [], [], 0)[0]:
                self.close()
            if self.connection.sock is None:
                self.connection.connect()
            return True
        except OSError:
            self.close()
            return False

    def ask(self, method: str, path: str, body=None) -> tuple[int, object]:
        """Returns the status and the document that is answered."""
        try:
            data = None if body is None else json.dumps(body)
            self.connection.request(method, path, data, {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as failure:
            self.close()
            raise NoAnswer(f"{type(failure).__name__}: {failure}") from failure
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text.decode(errors="replace")

    def call(self, path: str):
        """The data that a function answers."""
        status, answer = self.ask("GET", path)
        if status != 200 or not isinstance(answer, dict):
            raise NoAnswer(f"{path} answers {status}: {answer}")
        return answer["data"]

    def close(self) -> None:
        self.connection.close()
