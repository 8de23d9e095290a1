"""An upload of any length from disk to disk by websockets: one message, sent and received as fragments."""

import asyncio
import itertools
import os
import sys
import tempfile

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

count = itertools.count()


async def store(websocket):
    path = os.path.join(tempfile.gettempdir(), f"upload-{next(count)}")
    with open(path, "wb") as file:
        size = 0
        async for block in websocket.recv_streaming():
            size += len(block)
            await asyncio.to_thread(file.write, block)
    await websocket.send(str(size))


async def blocks(path):
    with open(path, "rb") as file:
        while block := await asyncio.to_thread(file.read, 64 << 10):
            yield block


async def upload(url, path):
    async with connect(url) as websocket:
        await websocket.send(blocks(path))
        return await websocket.recv()


async def main():
    port = int(os.environ.get("PORT", 8080))
    # The limit of a message is the limit of all its fragments together.
    async with serve(store, "127.0.0.1", port, max_size=(4 << 30, 1 << 20)) as server:
        port = server.sockets[0].getsockname()[1]
        size = await upload(f"ws://127.0.0.1:{port}/", sys.argv[1])
        print(f"{size} bytes were stored")


if __name__ == "__main__":
    asyncio.run(main())
