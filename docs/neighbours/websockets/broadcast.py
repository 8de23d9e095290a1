"""Every message to all members, by websockets. What a slow member has not taken is held until its keep-alive times out."""

import asyncio

from websockets.asyncio.server import broadcast, serve

members = set()


async def chat(websocket):
    members.add(websocket)
    try:
        async for message in websocket:
            broadcast(members, message)
    finally:
        members.remove(websocket)


async def main():
    origins = ["http://127.0.0.1:8080", None]
    async with serve(chat, "127.0.0.1", 8080, origins=origins) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
