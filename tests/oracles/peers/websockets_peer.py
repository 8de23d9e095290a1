"""Python's `websockets` as client and as server: see peer.py."""

import contextlib
import sys

import peer
from websockets.asyncio.client import connect as websockets_connect
from websockets.asyncio.server import serve as websockets_serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.frames import Opcode

# No limit that is not ours, and no ping that no step asked for.
SETTINGS = {
    "compression": None,
    "max_size": None,
    "ping_interval": None,
    "open_timeout": peer.STEP_LIMIT,
    "close_timeout": peer.STEP_LIMIT,
}


class Watched(Extension):
    """Another extension, of which one can tell what it was given, and whose work can be left out."""

    def __init__(self, extension):
        self.extension = extension
        self.name = extension.name
        self.plainly = False
        self.incoming = None

    def decode(self, frame, *, max_size=None):
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self.incoming = (len(frame.data), frame.rsv1)
        elif frame.opcode is Opcode.CONT:
            self.incoming = (self.incoming[0] + len(frame.data), self.incoming[1])
        return self.extension.decode(frame, max_size=max_size)

    def encode(self, frame):
        return frame if self.plainly else self.extension.encode(frame)


class Socket:
    def __init__(self, connection):
        self.connection = connection
        self.subprotocol = connection.subprotocol
        self.deflates = bool(connection.protocol.extensions)
        self.extension = connection.response.headers.get("Sec-WebSocket-Extensions")
        self.watched = [Watched(extension) for extension in connection.protocol.extensions]
        # In place: what reads frames has the list already.
        connection.protocol.extensions[:] = self.watched

    @property
    def incoming(self):
        return self.watched[0].incoming

    async def plainly(self, message):
        self.watched[0].plainly = True
        try:
            await self.connection.send(message)
        finally:
            self.watched[0].plainly = False

    async def send(self, message):
        await self.connection.send(message)

    async def send_fragments(self, parts):
        async def with_a_ping():
            for part in parts:
                yield part
                if part is parts[0]:
                    await self.connection.ping()

        await self.connection.send(with_a_ping())

    async def receive(self):
        try:
            return await self.connection.recv()
        except ConnectionClosed as closed:
            # It answers before it tells.
            received = closed.rcvd
            raise peer.Ended(received and received.code, received.reason if received else "") from None

    async def ping(self, data):
        await (await self.connection.ping(data))

    async def close(self, code, reason):
        await self.connection.close(code, reason)
        received = self.connection.protocol.close_rcvd
        return received and received.code

    def drop(self):
        self.connection.transport.abort()


@contextlib.asynccontextmanager
async def connect(task, scenario):
    factory = ClientPerMessageDeflateFactory(**task["deflate"]) if task["deflate"] is not None else None
    async with websockets_connect(
        task["url"] + scenario["path"],
        subprotocols=scenario["offered"] or None,
        extensions=[factory] if factory else None,
        ssl=peer.client_tls(task),
        proxy=None,
        **SETTINGS,
    ) as connection:
        yield Socket(connection)


@contextlib.asynccontextmanager
async def listen(task, served_at, serve):
    async def handle(connection):
        await serve(connection.request.path, Socket(connection))

    def select(connection, offered):
        served = served_at(connection.request.path)
        return next((name for name in offered if name in served), None)

    factory = ServerPerMessageDeflateFactory(**task["deflate"]) if task["deflate"] is not None else None
    async with websockets_serve(
        handle,
        "127.0.0.1",
        0,
        select_subprotocol=select,
        extensions=[factory] if factory else None,
        ssl=peer.server_tls(task),
        **SETTINGS,
    ) as server:
        yield server.sockets[0].getsockname()[1]


if __name__ == "__main__":
    peer.main(sys.modules[__name__])
