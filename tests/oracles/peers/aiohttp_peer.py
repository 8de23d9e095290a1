"""Python's `aiohttp` as client and as server: see peer.py."""

import contextlib
import sys

import peer
from aiohttp import ClientSession, WSMsgType, web

CLOSES = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
# Pings are answered above, where they can be seen; no limit that is not ours.
SETTINGS = {"autoping": False, "max_msg_size": 0}


class Socket:
    incoming = None  # it does not tell

    def __init__(self, socket, subprotocol, transport, headers):
        self.socket = socket
        self.subprotocol = subprotocol
        self.deflates = bool(socket.compress)
        self.transport = transport
        self.extension = headers.get("Sec-WebSocket-Extensions")

    async def send(self, message):
        await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_bytes(message))

    async def receive(self):
        while True:
            message = await self.socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                return message.data
            if message.type is WSMsgType.PING:
                await self.socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                return message
            elif message.type is WSMsgType.CLOSE:
                raise peer.Ended(message.data or 1005, message.extra or "")
            elif message.type in CLOSES:
                code = self.socket.close_code
                raise peer.Ended(None if code == 1006 else code, "")
            else:
                raise AssertionError(f"aiohttp says {message.type.name}: {message.data}")

    async def ping(self, data):
        await self.socket.ping(data)
        pong = await self.receive()
        peer.expect("pong", getattr(pong, "type", pong), WSMsgType.PONG)
        peer.expect("payload of the pong", bytes(pong.data), data)

    async def close(self, code, reason):
        await self.socket.close(code=code, message=reason.encode())
        return self.socket.close_code

    def drop(self):
        self.transport.abort()


@contextlib.asynccontextmanager
async def connect(task, scenario):
    async with (
        ClientSession() as session,
        session.ws_connect(
            task["url"].replace("ws", "http", 1) + scenario["path"],
            protocols=scenario["offered"],
            compress=(task["deflate"] or {}).get("client_max_window_bits", 15) if task["deflate"] is not None else 0,
            ssl=peer.client_tls(task) or True,
            **SETTINGS,
        ) as socket,
    ):
        yield Socket(socket, socket.protocol, socket._conn.transport, socket._response.headers)


@contextlib.asynccontextmanager
async def listen(task, served_at, serve):
    async def handle(request):
        socket = web.WebSocketResponse(protocols=served_at(request.path), compress=task["deflate"] is not None, **SETTINGS)
        await socket.prepare(request)
        await serve(request.path, Socket(socket, socket.ws_protocol, request.transport, socket.headers))
        return socket

    app = web.Application()
    app.router.add_get("/{number}", handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=peer.server_tls(task))
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    peer.main(sys.modules[__name__])
