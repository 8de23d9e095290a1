"""A reverse proxy by websockets. Fragments pass as they come; each end compresses anew and answers its own pings."""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

MAX_SIZE = 16 << 20
NAMES = ["Authorization", "Cookie", "User-Agent"]
upstream = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080"


async def connect_behind(connection, request):
    headers = [(name, value) for name in NAMES for value in request.headers.get_all(name)]
    headers.append(("X-Forwarded-For", connection.remote_address[0]))
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    names = [name.strip() for name in offered.split(",") if name.strip()]
    try:
        connection.behind = await connect(
            upstream + request.path,
            origin=request.headers.get("Origin"),
            subprotocols=names or None,
            additional_headers=headers,
            user_agent_header=None,
            max_size=MAX_SIZE,
        )
    except InvalidStatus as error:
        return error.response
    except Exception:
        return connection.respond(502, "the server behind cannot be reached\n")


def pass_cookies(connection, request, response):
    if behind := getattr(connection, "behind", None):
        for cookie in behind.response.headers.get_all("Set-Cookie"):
            response.headers["Set-Cookie"] = cookie


async def passed(source, target):
    try:
        while True:
            await target.send(source.recv_streaming())
    except ConnectionClosed:
        code, reason = source.close_code, source.close_reason
        if code == 1005:
            await target.close()
        elif code not in (None, 1006):
            await target.close(code, reason)
        else:
            await target.close(1011)


async def handle(client):
    await asyncio.gather(passed(client, client.behind), passed(client.behind, client))


async def main():
    port = int(os.environ.get("PORT", 8000))
    async with serve(
        handle,
        "127.0.0.1",
        port,
        process_request=connect_behind,
        process_response=pass_cookies,
        select_subprotocol=lambda connection, offered: connection.behind.subprotocol,
        max_size=MAX_SIZE,
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
