"""Drives the C interface against Python's `websockets`, in both roles, over sockets: drive.py LIBRARY."""

import os
import selectors
import socket
import sys
import threading
import time
import traceback

import sockless
import websockets.exceptions
from websockets.sync.client import connect
from websockets.sync.server import serve

SETTINGS = {"compression": None, "max_size": None, "ping_interval": None, "open_timeout": 20, "close_timeout": 20}
LONG = bytes(range(256)) * 2048

library = sockless.load(sys.argv[1])


def run(connection, transport, on_event):
    """The loop of the header, over a socket that does not block. Returns all events."""
    transport.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(transport, selectors.EVENT_READ)
    events = []
    while (output := connection.poll()).kind != sockless.DROP:
        if output.kind == sockless.WRITE:
            try:
                connection.sent(transport.send(output.bytes()))
            except BlockingIOError:
                pass
            except OSError:
                connection.abort()
        elif output.kind == sockless.SHUTDOWN_WRITE:
            transport.shutdown(socket.SHUT_WR)
        elif output.kind == sockless.WAIT:
            wait(connection, output, transport, selector)
        else:
            events.append((output.kind, output.code, output.bytes()))
            on_event(connection, *events[-1])
    selector.close()
    transport.close()
    connection.free()
    assert kinds(events).count(sockless.CLOSED) == 1 and events[-1][0] == sockless.CLOSED, events
    return events


def wait(connection, output, transport, selector):
    """Waits for what the connection waits for, and passes it what has come."""
    wanted = (selectors.EVENT_READ if output.read else 0) | (selectors.EVENT_WRITE if output.write else 0)
    if not wanted:
        time.sleep(output.seconds_left())
        return
    selector.modify(transport, wanted)
    for _, ready in selector.select(output.seconds_left()):
        if ready & selectors.EVENT_READ:
            try:
                data = transport.recv(65536)
            except OSError:
                data = b""
            if data:
                connection.feed(data)
            else:
                connection.feed_eof()


def echo(connection, kind, code, data):
    if kind == sockless.TEXT:
        connection.send(data.decode())
    elif kind == sockless.BINARY:
        connection.send(data)


class Server:
    """Our end as a server, for one connection, in a thread of its own."""

    def __init__(self, on_event=echo):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.events, self.error = None, None
        self.thread = threading.Thread(target=self.work, args=(on_event,), daemon=True)
        self.thread.start()

    def work(self, on_event):
        try:
            transport, _ = self.listener.accept()
            self.events = run(sockless.Connection.server(library), transport, on_event)
        except BaseException as error:
            self.error = error

    def result(self):
        self.thread.join(20)
        self.listener.close()
        assert not self.thread.is_alive(), "our end did not end"
        if self.error:
            raise self.error
        return self.events


def as_client(handler, on_event, **settings):
    """Our end as the client of a server of `websockets` with this handler. Returns our events."""
    with serve(handler, "127.0.0.1", 0, **SETTINGS, **settings) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        transport = socket.create_connection(("127.0.0.1", port))
        client = sockless.Connection.client(library, f"127.0.0.1:{port}", "/chat?room=1", os.urandom(32))
        events = run(client, transport, on_event)
        server.shutdown()
        thread.join(20)
    return events


def kinds(events):
    return [kind for kind, _, _ in events]


def server_echoes():
    server = Server()
    with connect(f"ws://{server.address}/a/b?c=d", **SETTINGS) as peer:
        for message in ["", "grüß dich", b"", b"\0\xff", LONG]:
            peer.send(message)
            assert peer.recv(20) == message
        # In fragments, and not all of one kind of length.
        peer.send(["a", "", "b" * 70_000])
        assert peer.recv(20) == "a" + "b" * 70_000
    events = server.result()
    assert events[0] == (sockless.OPEN, 0, b"/a/b?c=d"), events[0]
    assert kinds(events)[-2:] == [sockless.PEER_CLOSED, sockless.CLOSED], kinds(events)
    assert events[-1][1] == 1000, events[-1]


def server_answers_pings():
    server = Server()
    with connect(f"ws://{server.address}/", **SETTINGS) as peer:
        assert peer.ping(b"payload").wait(20)
    assert (sockless.PING, 0, b"payload") in server.result()


def server_reports_the_peers_reason():
    server = Server()
    with connect(f"ws://{server.address}/", **SETTINGS) as peer:
        peer.close(4001, "grüß dich")
    events = server.result()
    assert events[-2] == (sockless.PEER_CLOSED, 4001, "grüß dich".encode()), events
    assert events[-1][1] == 4001, events


def server_closes():
    def close(connection, kind, code, data):
        if kind == sockless.TEXT:
            connection.close(4002, b"enough")

    server = Server(close)
    with connect(f"ws://{server.address}/", **SETTINGS) as peer:
        peer.send("now")
        try:
            peer.recv(20)
            raise AssertionError("received a message")
        except websockets.exceptions.ConnectionClosed as error:
            assert (error.rcvd.code, error.rcvd.reason) == (4002, "enough"), error
    assert kinds(server.result()) == [sockless.OPEN, sockless.TEXT, sockless.CLOSED]


def server_rejects_what_is_not_an_upgrade():
    server = Server()
    with socket.create_connection(server.address.split(":")) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b"".join(iter(lambda: peer.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"), answer
    assert kinds(server.result()) == [sockless.CLOSED]


def server_notices_a_peer_that_vanishes():
    server = Server()
    with connect(f"ws://{server.address}/", **SETTINGS) as peer:
        peer.socket.shutdown(socket.SHUT_RDWR)
    events = server.result()
    assert kinds(events) == [sockless.OPEN, sockless.CLOSED] and events[-1][1] == 0, events


def client_talks():
    messages = ["", "grüß dich", b"\0\xff", LONG]

    def handler(peer):
        for message in peer:
            peer.send(message)

    waiting, received = list(messages), []

    def on_event(connection, kind, code, data):
        if kind in (sockless.TEXT, sockless.BINARY):
            received.append(data.decode() if kind == sockless.TEXT else data)
        if kind in (sockless.OPEN, sockless.TEXT, sockless.BINARY):
            if waiting:
                connection.send(waiting.pop(0))
            else:
                connection.close()

    events = as_client(handler, on_event)
    assert received == messages
    assert events[0] == (sockless.OPEN, 0, b"") and events[-1][1] == 1000, (events[0], events[-1])


def client_pings():
    def on_event(connection, kind, code, data):
        if kind == sockless.OPEN:
            connection.ping(b"payload")
        elif kind == sockless.PONG:
            assert data == b"payload"
            connection.close()

    assert sockless.PONG in kinds(as_client(lambda peer: list(peer), on_event))


def client_is_closed_by_the_server():
    events = as_client(lambda peer: peer.close(1001, "later"), lambda *event: None)
    assert events[-2] == (sockless.PEER_CLOSED, 1001, b"later") and events[-1][1] == 1001, events


def client_is_rejected():
    def reject(peer, request):
        return peer.respond(403, "no\n")

    events = as_client(lambda peer: None, lambda *event: None, process_request=reject)
    assert kinds(events) == [sockless.CLOSED] and b"403" in events[0][2], events


def server_stops_reading_while_the_peer_does_not_read():
    """A flood of messages, whose echoes the peer leaves unread for a while: they come to a halt, and nothing is lost."""
    server, count = Server(), 200
    with socket.create_connection(server.address.split(":"), timeout=60) as peer:
        peer.sendall(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        echoes = peer.makefile("rb")
        while echoes.readline() != b"\r\n":
            pass
        length = len(LONG).to_bytes(8, "big")
        frame = b"\x82\xff" + length + bytes(4) + LONG
        sender = threading.Thread(target=lambda: [peer.sendall(frame) for _ in range(count)], daemon=True)
        sender.start()
        sender.join(1)
        assert sender.is_alive(), "our end reads on and on"
        for _ in range(count):
            assert echoes.read(len(LONG) + 10) == b"\x82\x7f" + length + LONG
        sender.join(20)
        peer.sendall(b"\x88\x80" + bytes(4))
        assert echoes.read() == b"\x88\0"
    assert kinds(server.result()).count(sockless.BINARY) == count


def misuse_is_an_error():
    connection = sockless.Connection.server(library)
    for misuse in [
        lambda: connection.send("not open yet"),
        lambda: connection.close(1005),
        lambda: connection.close(1000, b"\xff"),
        lambda: connection.sent(1),
        lambda: connection.call("send_text", None, 1),
    ]:
        try:
            misuse()
            raise AssertionError("succeeded")
        except sockless.Error:
            pass
    connection.free()
    for host, target in [("a b", "/"), ("a", "b"), ("", "/"), ("a\r\nb", "/"), ("a", "/\r\nb: c")]:
        try:
            sockless.Connection.client(library, host, target, bytes(32))
            raise AssertionError("succeeded")
        except ValueError:
            pass


def main():
    checks = [
        server_echoes,
        server_answers_pings,
        server_reports_the_peers_reason,
        server_closes,
        server_rejects_what_is_not_an_upgrade,
        server_notices_a_peer_that_vanishes,
        client_talks,
        client_pings,
        client_is_closed_by_the_server,
        client_is_rejected,
        server_stops_reading_while_the_peer_does_not_read,
        misuse_is_an_error,
    ]
    failed = 0
    for check in checks:
        try:
            check()
            print(f"ok    {check.__name__}", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"FAIL  {check.__name__}", flush=True)
    print(f"ffi: {len(checks) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
