"""What the Python peers share: they read what to do as JSON on stdin, and say how it went as lines of JSON on stdout.

A socket has `extension`, the header of the server's answer, and `incoming`, what the last message that came was on the wire: its
length, and whether it was compressed; or None where the library does not tell. `plainly(message)` sends one as it is.

A peer module has two async context managers: `connect(task, scenario)` gives a socket with the methods that the steps call,
`listen(task, served_at, serve)` a port, where `serve(path, socket)` is to be awaited for each connection and `served_at(path)`
are the subprotocols to choose from.
"""

import asyncio
import json
import ssl
import sys

STEP_LIMIT = 15  # seconds
SCENARIO_LIMIT = 60


class Ended(Exception):
    """The other side has closed, or is gone: `code` None is without a Close frame, 1005 without a code in it."""

    def __init__(self, code, reason):
        super().__init__(f"the connection ended with {code} '{reason}'")
        self.code = code
        self.reason = reason


def payload(description):
    if "text" in description:
        return description["text"] * description["times"]
    if "bytes" in description:
        return bytes(index * 7919 >> 3 & 0xFF for index in range(description["bytes"]))
    noise, state = bytearray(), 12345
    for _ in range(description["noise"]):
        state = state * 1103515245 + 12345 & 0xFFFFFFFF
        noise.append(state >> 16 & 0xFF)
    return bytes(noise)


def expect(what, actual, expected):
    if actual != expected:
        raise AssertionError(f"{what}: expected {shown(expected)}, got {shown(actual)}")


def shown(value):
    if isinstance(value, (str, bytes)) and len(value) > 60:
        return f"{type(value).__name__} of {len(value)}: {value[:40]!r}.."
    return repr(value)


async def take(socket, steps):
    """Takes one step after the other. True when the last one has ended the connection."""
    for step, *details in steps:
        try:
            async with asyncio.timeout(STEP_LIMIT):
                await STEPS[step.replace(" ", "_")](socket, *details)
        except TimeoutError:
            raise AssertionError(f"{step}: waited {STEP_LIMIT} s for it") from None
        except Ended as ended:
            raise AssertionError(f"{step}: {ended}") from None
    return steps[-1][0] in ("close", "closed", "drop", "dropped")


async def echo(socket, _kind, description):
    message = payload(description)
    await socket.send(message)
    expect("echo", await receive(socket), message)


async def deflated(socket, kind, description):
    await echo(socket, kind, description)
    if socket.incoming:
        length, compressed = socket.incoming
        expect("whether it came compressed", compressed, True)
        message = payload(description)
        size = len(message.encode() if isinstance(message, str) else message)
        if length >= size:
            raise AssertionError(f"{size} bytes came in {length}")


async def undeflated(socket, kind, description):
    await echo(socket, kind, description)
    if socket.incoming:
        expect("length on the wire and whether it came compressed", socket.incoming, (len(payload(description)), False))


async def as_it_is(socket, _kind, description):
    message = payload(description)
    await socket.plainly(message)
    expect("echo", await receive(socket), message)


async def remembered(socket, text):
    lengths = []
    for _ in range(2):
        await echo(socket, "text", {"text": text, "times": 1})
        if not socket.incoming:
            return
        expect("whether it came compressed", socket.incoming[1], True)
        lengths.append(socket.incoming[0])
    if (lengths[1] * 3 < lengths[0]) != socket.remembers or not socket.remembers and lengths[0] != lengths[1]:
        raise AssertionError(f"it came in {lengths[0]} bytes, and then in {lengths[1]}")


async def many(socket, count):
    for number in range(count):
        await socket.send(f"message {number}")
    for number in range(count):
        expect("echo", await receive(socket), f"message {number}")


async def fragments(socket, _kind, descriptions):
    parts = [payload(description) for description in descriptions]
    await socket.send_fragments(parts)
    expect("echo", await receive(socket), parts[0][:0].join(parts))


async def ping(socket, description):
    await socket.ping(payload(description).encode())


async def hold(socket, seconds):
    """The peers' libraries answer pings while they receive, or in a task of their own. What is received here goes on being
    received in the next step: aiohttp takes a cancelled call for the end of the connection."""
    socket.receiving = asyncio.ensure_future(socket.receive())
    if (await asyncio.wait({socket.receiving}, timeout=seconds))[0]:
        raise AssertionError(f"a message came that nobody sent: {shown(await receive(socket))}")


async def receive(socket):
    receiving, socket.receiving = getattr(socket, "receiving", None), None
    return await (receiving or socket.receive())


async def close(socket, code, reason):
    expect("code of the answer", await socket.close(code, reason), code if code is not None else 1005)


async def closed(socket, code, reason):
    try:
        raise AssertionError(f"a message came instead of a Close frame: {shown(await receive(socket))}")
    except Ended as ended:
        expect("close", (ended.code, ended.reason), (code, reason))


async def drop(socket):
    socket.drop()


async def dropped(socket):
    await closed(socket, None, "")


STEPS = {
    function.__name__: function
    for function in (
        echo, deflated, undeflated, as_it_is, remembered, many, fragments, ping, hold, close, closed, drop, dropped
    )
}


async def converse(task, scenario, socket):
    expect("subprotocol", socket.subprotocol, scenario["chosen"])
    expect("permessage-deflate", socket.deflates, task["deflate"] is not None)
    expect("extensions", parameters(socket.extension), task["agreed"])
    ours = {"client": "server", "server": "client"}[task["role"]]
    socket.remembers = f"{ours}_no_context_takeover" not in (task["deflate"] or {})
    if not await take(socket, scenario["steps"]):
        await take(socket, [["close", 1000, "done"]])


def parameters(extension):
    """The parameters of permessage-deflate, from a header."""
    if not extension:
        return None
    name, *listed = (part.strip() for part in extension.split(";"))
    expect("extension", name, "permessage-deflate")
    pairs = (parameter.partition("=") for parameter in listed)
    return {name: int(value) if equals else True for name, equals, value in pairs}


def say(**what):
    print(json.dumps(what), flush=True)


async def judge(name, conversation):
    """Runs it and says how it went."""
    try:
        async with asyncio.timeout(SCENARIO_LIMIT):
            await conversation
    except Exception as error:
        say(scenario=name, error=f"{type(error).__name__}: {error}")
    else:
        say(scenario=name, error=None)


async def be_client(peer, task):
    async def talk(scenario):
        async with peer.connect(task, scenario) as socket:
            await converse(task, scenario, socket)

    for scenario in task["scenarios"]:
        await judge(scenario["name"], talk(scenario))


async def be_server(peer, task):
    """Serves the scenario of number N at /N, until stdin ends."""

    def at(path):
        return task["scenarios"][int(path.strip("/"))]

    async def serve(path, socket):
        await judge(at(path)["name"], converse(task, at(path), socket))

    async with peer.listen(task, lambda path: at(path)["served"], serve) as port:
        say(listening=port)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def client_tls(task):
    return ssl.create_default_context(cafile=task["ca"]) if task["ca"] else None


def server_tls(task):
    if not task["cert"]:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(task["cert"], task["key"])
    return context


def main(peer):
    task = json.loads(sys.stdin.readline())
    roles = {"client": be_client, "server": be_server}
    asyncio.run(roles[task["role"]](peer, task))
