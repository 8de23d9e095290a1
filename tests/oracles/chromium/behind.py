"""Python's `websockets` as the server behind a proxy: a page, and an echo at /echo, which closes when it is
asked to. It prints its port."""

import asyncio
import http
import json
import signal

from websockets.asyncio.server import serve


def only_echo(connection, request):
    status = http.HTTPStatus.OK if request.path == "/" else http.HTTPStatus.NOT_FOUND
    return None if request.path == "/echo" else connection.respond(status, "behind a proxy\n")


def select(_, offered):
    return next((name for name in offered if name in ("echo.v1", "echo.v2")), None)


async def echo(connection):
    async for message in connection:
        if isinstance(message, str) and message.startswith("close: "):
            await connection.close(*json.loads(message.removeprefix("close: ")))
        else:
            await connection.send(message)


async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    settings = {"max_size": None, "ping_interval": 1, "select_subprotocol": select, "process_request": only_echo}
    async with serve(echo, "127.0.0.1", 0, **settings) as server:
        print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await stopped.wait()


asyncio.run(main())
