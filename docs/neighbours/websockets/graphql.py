"""GraphQL subscriptions by websockets: the protocol graphql-transport-ws."""

import asyncio
import json
import os

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

MAX_SUBSCRIPTIONS = 100
INIT_TIMEOUT = 3


class Refused(Exception):
    """Closes the connection as the protocol requires."""


def route(connection, request):
    if request.path != "/graphql":
        return connection.respond(404, "nothing is served at this path\n")


def parse(message):
    try:
        message = json.loads(message)
        kind = message["type"]
        if kind == "subscribe":
            return kind, str(message["id"]), str(message["payload"]["query"])
        return kind, str(message["id"]) if kind == "complete" else None, None
    except (ValueError, LookupError, TypeError):
        raise Refused(4400, "Invalid message") from None


async def execute(websocket, number, query):
    async def send(kind, **members):
        await websocket.send(json.dumps({"id": number, "type": kind, **members}))

    if query.strip() != "subscription { ticks }":
        errors = [{"message": "expected 'subscription { ticks }'"}]
        return await send("error", payload=errors)
    for ticks in range(1, 4):
        await asyncio.sleep(1)
        await send("next", payload={"data": {"ticks": ticks}})
    await send("complete")


async def receive(websocket, tasks):
    is_init, subscriptions = False, {}
    while True:
        try:
            async with asyncio.timeout(None if is_init else INIT_TIMEOUT):
                kind, number, query = parse(await websocket.recv())
        except TimeoutError:
            raise Refused(4408, "Connection initialisation timeout") from None
        if kind == "connection_init":
            if is_init:
                raise Refused(4429, "Too many initialisation requests")
            is_init = True
            await websocket.send(json.dumps({"type": "connection_ack"}))
        elif kind == "ping":
            await websocket.send(json.dumps({"type": "pong"}))
        elif kind == "subscribe":
            if not is_init:
                raise Refused(4401, "Unauthorized")
            subscriptions = {it: task for it, task in subscriptions.items() if not task.done()}
            if len(subscriptions) == MAX_SUBSCRIPTIONS:
                raise Refused(1008, "Too many subscriptions")
            if number in subscriptions:
                raise Refused(4409, f"Subscriber for {number} already exists")
            subscriptions[number] = tasks.create_task(execute(websocket, number, query))
        elif kind == "complete":
            if task := subscriptions.pop(number, None):
                task.cancel()
        elif kind != "pong":
            raise Refused(4400, "Invalid message")


async def handle(websocket):
    try:
        async with asyncio.TaskGroup() as tasks:
            await receive(websocket, tasks)
    except* Refused as refused:
        code, reason = refused.exceptions[0].args
        # A reason has 123 bytes at most.
        await websocket.close(code, reason.encode()[:123].decode(errors="ignore"))
    except* ConnectionClosed:
        pass


async def main():
    port = int(os.environ.get("PORT", 8080))
    protocols = ["graphql-transport-ws"]
    async with serve(
        handle, "127.0.0.1", port, process_request=route, subprotocols=protocols
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
