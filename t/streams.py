#!/usr/bin/env python3
"""A client of HTTP/2 and HTTP/3 that does what a script says, step by step: a test decides what is on its way when.

usage: t/streams.py h2|h3 PORT < SCRIPT

A script has a step on each line. What a step has to tell is printed on a line of its own.

    get PATH             a request that ends with its header
    post PATH [LENGTH]   a request whose body follows, of a length that is declared, or not
    send TEXT            a part of its body; `send N bytes` is that many of them
    end                  the end of its body
    head                 waits for the response's header; prints its status
    header NAME          the value of one of its fields; waits as `head` does
    read N               waits until that many bytes of the response's body are here
    wait                 waits for the response's end; prints its status, and its body, or what that is
    wait all             waits for all responses; prints each, and how many there were, in the order of what is printed
    ask PATH             asks for something over HTTP/1.1, at the port below; prints the body
    pause SECONDS        does nothing, and reads nothing, until nginx, however slow, has seen what was sent before
    reset                cancels the request: RST_STREAM, or RESET_STREAM and STOP_SENDING
    stop                 STOP_SENDING alone (HTTP/3)
    leave                drops the connection without a word; the next request opens another
    wide                 the next connection has windows of any size and a socket that takes little, so that output queues in the
                         server's connection rather than in its streams (HTTP/2)
    bye                  closes the connection as the protocol says

Steps are about the request that was made last. Those before it live on, on the same connection.
"""

import collections
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request

TIMEOUT = 10


class Response:
    """What has come of one response."""

    def __init__(self):
        self.status = None
        self.headers = {}
        self.body = bytearray()
        self.over = None

    def __str__(self):
        if self.over != "end":
            return " ".join(filter(None, [self.status, self.over]))
        text = self.body.decode("latin-1").strip()
        if text[:5].lower() == "<html":
            text = "HTML"
        return f"{self.status} {text if len(text) < 120 else f'{len(self.body)} bytes'}".strip()


class Client:
    """Responses by their streams, and the loop that waits for them. `receive` is the protocol's."""

    def __init__(self):
        self.responses = {}

    def until(self, done):
        deadline = time.monotonic() + TIMEOUT
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.receive(left)

    def head(self, stream):
        response = self.responses[stream]
        self.until(lambda: response.status or response.over)
        return response.status or response.over

    def read(self, stream, n):
        response = self.responses[stream]
        self.until(lambda: len(response.body) >= n or response.over)

    def wait(self, stream):
        response = self.responses[stream]
        self.until(lambda: response.over)
        return str(response)

    def header(self, stream, name):
        self.head(stream)
        return self.responses[stream].headers.get(name, "none")

    def wait_for_all(self):
        counts = collections.Counter(self.wait(stream) for stream in self.responses)
        return "\n".join(f"{n} x {text}" for text, n in sorted(counts.items()))

    def lost(self, why):
        for response in self.responses.values():
            response.over = response.over or why

    def headers(self, method, path, length):
        headers = [
            (":method", method),
            (":scheme", self.SCHEME),
            (":authority", "localhost"),
            (":path", path),
        ]
        return headers + ([("content-length", str(length))] if length is not None else [])

    def note_headers(self, stream, headers):
        response = self.responses[stream]
        response.headers = {name.decode(): value.decode() for name, value in headers}
        response.status = response.headers[":status"]


class Http2(Client):
    SCHEME = "http"

    def __init__(self, port, wide=False):
        import h2.config
        import h2.connection
        import h2.events
        import h2.settings

        super().__init__()
        self.events = h2.events
        self.socket = socket.socket()
        if wide:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        if wide:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
            self.h2.increment_flow_control_window(2**30)
        self.flush()

    def flush(self):
        try:
            self.socket.sendall(self.h2.data_to_send())
        except OSError:
            self.lost("closed")

    def open(self, method, path, length=None, last=True):
        stream = self.h2.get_next_available_stream_id()
        self.responses[stream] = Response()
        self.h2.send_headers(stream, self.headers(method, path, length), end_stream=last)
        self.flush()
        return stream

    def send(self, stream, data):
        response = self.responses[stream]
        while data and not response.over:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if not room:
                self.receive(TIMEOUT)
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()

    def end(self, stream):
        self.h2.end_stream(stream)
        self.flush()

    def reset(self, stream):
        self.h2.reset_stream(stream, 8)
        self.flush()

    def leave(self):
        self.socket.close()

    def bye(self):
        self.h2.close_connection()
        self.flush()
        self.socket.close()

    def receive(self, timeout):
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            return self.lost("closed")
        events = self.events
        for event in self.h2.receive_data(data):
            stream = getattr(event, "stream_id", None)
            if isinstance(event, events.ResponseReceived):
                self.note_headers(stream, event.headers)
            elif isinstance(event, events.DataReceived):
                self.responses[stream].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, events.StreamEnded):
                self.responses[stream].over = "end"
            elif isinstance(event, events.StreamReset):
                # Behind a whole response, it asks for no more of the request.
                response = self.responses[stream]
                response.over = response.over or f"reset {int(event.error_code)}"
            elif isinstance(event, events.ConnectionTerminated):
                self.lost(f"goaway {int(event.error_code)}")
        self.flush()


class Http3(Client):
    SCHEME = "https"

    def __init__(self, port):
        import aioquic.h3.connection
        import aioquic.h3.events
        import aioquic.quic.configuration
        import aioquic.quic.connection
        import aioquic.quic.events

        super().__init__()
        self.h3_events = aioquic.h3.events
        self.quic_events = aioquic.quic.events
        config = aioquic.quic.configuration.QuicConfiguration(
            is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name="localhost"
        )
        self.peer = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.quic = aioquic.quic.connection.QuicConnection(configuration=config)
        self.quic.connect(self.peer, now=time.monotonic())
        self.ready = False
        self.flush()
        self.until(lambda: self.ready)
        self.h3 = aioquic.h3.connection.H3Connection(self.quic)
        self.flush()

    def flush(self):
        for data, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self.socket.sendto(data, self.peer)

    def open(self, method, path, length=None, last=True):
        stream = self.quic.get_next_available_stream_id()
        self.responses[stream] = Response()
        headers = [(k.encode(), v.encode()) for k, v in self.headers(method, path, length)]
        self.h3.send_headers(stream, headers, end_stream=last)
        self.flush()
        return stream

    def send(self, stream, data):
        # The library keeps what the windows have no room for.
        self.h3.send_data(stream, data, end_stream=False)
        self.flush()
        sent = self.quic._streams[stream].sender
        self.until(lambda: sent.buffer_is_empty or self.responses[stream].over)

    def end(self, stream):
        # A response that came before the body's end may have closed the stream.
        if not self.responses[stream].over:
            self.h3.send_data(stream, b"", end_stream=True)
            self.flush()

    def stop(self, stream):
        self.quic.stop_stream(stream, 0x10C)
        self.flush()

    def reset(self, stream):
        if not self.quic._streams[stream].sender.is_finished:
            self.quic.reset_stream(stream, 0x10C)
        self.stop(stream)

    def leave(self):
        # The kernel's word that the port is unreachable is nothing that QUIC heeds, so the end has to be told.
        self.bye()

    def bye(self):
        self.quic.close()
        self.flush()
        self.socket.close()

    def receive(self, timeout):
        timer = self.quic.get_timer()
        if timer is not None:
            timeout = min(timeout, max(0.0005, timer - time.monotonic()))
        self.socket.settimeout(timeout)
        try:
            data, peer = self.socket.recvfrom(65536)
            self.quic.receive_datagram(data, peer, now=time.monotonic())
        except OSError:
            if timer is not None and time.monotonic() >= timer:
                self.quic.handle_timer(now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.take(event)
        self.flush()

    def take(self, event):
        if isinstance(event, self.quic_events.HandshakeCompleted):
            self.ready = True
        elif isinstance(event, self.quic_events.ConnectionTerminated):
            self.lost(f"closed {event.error_code:#x}")
        elif isinstance(event, self.quic_events.StreamReset) and event.stream_id in self.responses:
            response = self.responses[event.stream_id]
            response.over = response.over or f"reset {event.error_code:#x}"
        for h3_event in self.h3.handle_event(event) if self.ready and hasattr(self, "h3") else ():
            response = self.responses.get(getattr(h3_event, "stream_id", None))
            if response is None:
                continue
            if isinstance(h3_event, self.h3_events.HeadersReceived):
                self.note_headers(h3_event.stream_id, h3_event.headers)
            elif isinstance(h3_event, self.h3_events.DataReceived):
                response.body += h3_event.data
            if getattr(h3_event, "stream_ended", False):
                response.over = "end"


PROTOCOLS = {"h2": Http2, "h3": Http3}


def ask(port, path):
    """What is there over HTTP/1.1."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT) as answer:
            return answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return str(error.code)


def run(protocol, port, script):
    client = stream = None
    options = {}
    for line in script:
        step, _, argument = line.strip().partition(" ")
        if step in ("get", "post"):
            client = client or PROTOCOLS[protocol](port, **options)
            path, _, length = argument.partition(" ")
            stream = client.open(step.upper(), path, length or None, last=step == "get")
        elif step == "send":
            n, _, unit = argument.partition(" ")
            client.send(stream, b"x" * int(n) if unit == "bytes" else argument.encode())
        elif step == "read":
            client.read(stream, int(argument))
        elif step == "header":
            print(client.header(stream, argument), flush=True)
        elif step == "ask":
            print(ask(port - 1, argument), flush=True)
        elif step == "wait" and argument == "all":
            print(client.wait_for_all(), flush=True)
        elif step in ("head", "wait"):
            print(getattr(client, step)(stream), flush=True)
        elif step == "pause":
            time.sleep(float(argument))
            # A connection that is made afterwards is seen afterwards.
            ask(port - 1, "/nothing")
            ask(port - 1, "/nothing")
        elif step in ("end", "reset", "stop"):
            getattr(client, step)(stream)
        elif step in ("leave", "bye"):
            getattr(client, step)()
            client = None
        elif step == "wide":
            options = {"wide": True}
        elif step:
            raise SystemExit(f"unknown step: {step}")


if __name__ == "__main__":
    try:
        run(sys.argv[1], int(sys.argv[2]), sys.stdin)
    except TimeoutError:
        print("timeout")
