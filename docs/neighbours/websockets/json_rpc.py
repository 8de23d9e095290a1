"""JSON-RPC 2.0 by websockets: a server with methods, and a client with several calls under way."""

import asyncio
import json
import os

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


def failed(code, message):
    return {"error": {"code": code, "message": message}}


def dispatch(method, params):
    if method not in ("add", "subtract"):
        return failed(-32601, "unknown method")
    if not isinstance(params, list) or not all(type(number) is int for number in params):
        return failed(-32602, "expected numbers")
    if method == "add":
        return {"result": sum(params)}
    if len(params) != 2:
        return failed(-32602, "expected numbers")
    return {"result": params[0] - params[1]}


def answer(message):
    try:
        request = json.loads(message)
    except ValueError as error:
        return {"id": None, **failed(-32700, str(error))}
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return {"id": None, **failed(-32600, "expected a method")}
    outcome = dispatch(request["method"], request.get("params"))
    return {"id": request["id"], **outcome} if "id" in request else None


async def handle(websocket):
    async for message in websocket:
        if (response := answer(message)) is not None:
            await websocket.send(json.dumps({"jsonrpc": "2.0", **response}))


class Client:
    def __init__(self, websocket):
        self.websocket = websocket
        self.last = 0
        self.waiting = {}
        self.receiving = asyncio.create_task(self.receive())

    async def call(self, method, params):
        self.last += 1
        number = self.last
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self.waiting[number] = response = asyncio.get_running_loop().create_future()
        try:
            await self.websocket.send(json.dumps(request))
            return await response
        finally:
            del self.waiting[number]

    async def receive(self):
        async for message in self.websocket:
            response = json.loads(message)
            if waiting := self.waiting.get(response.get("id")):
                if "error" in response:
                    waiting.set_exception(ValueError(response["error"]["message"]))
                else:
                    waiting.set_result(response["result"])
        for waiting in self.waiting.values():
            waiting.set_exception(EOFError("the connection is closed"))


async def main():
    async with serve(handle, "127.0.0.1", int(os.environ.get("PORT", 8080))) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/") as websocket:
            client = Client(websocket)
            calls = client.call("add", [1, 2]), client.call("subtract", [{"minuend": 42}])
            print(await asyncio.gather(*calls, return_exceptions=True))


if __name__ == "__main__":
    asyncio.run(main())
