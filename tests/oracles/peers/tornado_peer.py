#!/usr/bin/env python3
"""Tornado, which drops parameters without a value from the headers of permessage-deflate, and always remembers earlier messages:
tornado_peer.py DEMO ECHO_CLIENT OUT (see run).

Its client against the demo as a server that any client can talk to, and its server against our client with the default offer.
"""

import asyncio
import contextlib
import pathlib
import subprocess
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

LIMIT = 20  # seconds
MESSAGES = ["the tide comes in, " * 500, "the tide comes in, " * 500, b"\x00" * 70_000, "", "ä€🧦" * 3_000] * 2

# `Deflate::for_any_client()`, and the offer of `Deflate::default()`.
FOR_ANY_CLIENT = "permessage-deflate; server_no_context_takeover"
DEFAULT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def expect(what, actual, expected):
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r:.100}, got {actual!r:.100}")


@contextlib.contextmanager
def demo(program, log):
    """The demo, and the port on which it listens."""
    arguments = [program, "--listen", "127.0.0.1:0", "--deflate", FOR_ANY_CLIENT]
    with open(log, "wb") as errors, subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            yield int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.terminate()


async def as_client(port):
    connection = await websocket_connect(f"ws://127.0.0.1:{port}/echo", compression_options={})
    expect("extensions", connection.headers.get("Sec-WebSocket-Extensions"), FOR_ANY_CLIENT)
    for message in MESSAGES:
        await connection.write_message(message, binary=isinstance(message, bytes))
        expect("the echo", await connection.read_message(), message)
    connection.close(1000, "done")
    expect("the end", await connection.read_message(), None)
    expect("the code", connection.close_code, 1000)


class Behind(WebSocketHandler):
    """Sends each message, and expects it back."""

    ended = None  # a future

    def get_compression_options(self):
        return {}

    def open(self):
        self.waiting = list(MESSAGES)
        self.write_message(self.waiting[0], binary=isinstance(self.waiting[0], bytes))

    def on_message(self, message):
        try:
            expect("the echo", message, self.waiting.pop(0))
        except AssertionError as error:
            Behind.ended.set_exception(error)
            return self.close()
        if self.waiting:
            self.write_message(self.waiting[0], binary=isinstance(self.waiting[0], bytes))
        else:
            self.close(1000, "done")

    def on_close(self):
        if not Behind.ended.done():
            Behind.ended.set_result((len(self.waiting), self.close_code))


async def as_server(echo_client):
    Behind.ended = asyncio.get_running_loop().create_future()
    server = HTTPServer(Application([("/", Behind)]))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"ws://127.0.0.1:{sockets[0].getsockname()[1]}/"
    client = await asyncio.create_subprocess_exec(echo_client, "--deflate", DEFAULT, url, stdout=subprocess.PIPE)
    said, _ = await client.communicate()
    expect("our client's end", client.returncode, 0)
    if "extension: permessage-deflate\n" not in said.decode():
        raise AssertionError(f"our client should have agreed to the plain answer, and says: {said.decode()}")
    expect("messages left, and the code", await Behind.ended, (0, 1000))


async def main():
    program, echo_client, out = (pathlib.Path(path).absolute() for path in sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    with demo(program, out / "tornado-demo.log") as port:
        await asyncio.wait_for(as_client(port), LIMIT)
    await asyncio.wait_for(as_server(echo_client), LIMIT)
    print("tornado: as client and as server: passed")


if __name__ == "__main__":
    asyncio.run(main())
