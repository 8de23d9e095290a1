"""A chat with names, beside its page, by websockets. The first message is the name."""

import asyncio
import os
from http import HTTPStatus
from pathlib import Path

from websockets.asyncio.server import broadcast, serve

members = {}


def page(connection, request):
    if request.path == "/websocket":
        return None
    if request.path != "/":
        return connection.respond(HTTPStatus.NOT_FOUND, "nothing is served at this path\n")
    response = connection.respond(HTTPStatus.OK, Path("chat.html").read_text())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "text/html"
    return response


async def chat(websocket):
    async for name in websocket:
        if name not in members:
            break
        await websocket.send("Username already taken.")
    else:
        return
    members[name] = websocket
    broadcast(members.values(), f"{name} joined.")
    try:
        async for message in websocket:
            broadcast(members.values(), f"{name}: {message}")
    finally:
        del members[name]
        broadcast(members.values(), f"{name} left.")


async def main():
    port = int(os.environ.get("PORT", 8080))
    async with serve(chat, "127.0.0.1", port, process_request=page) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
