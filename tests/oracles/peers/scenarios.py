"""What the peers and we do together: the table behind drive.py.

Each scenario runs for every peer, in both roles, on every runtime, over every scheme, without permessage-deflate and with an
agreement about it; what is particular to other agreements, on one runtime over one scheme. Our end always echoes, so a scenario
is the same whoever of the two is the server: it is what the peer does, a list of steps that every peer program knows:

    echo KIND PAYLOAD           send a message and expect it back
    deflated KIND PAYLOAD       the same, where both must have compressed it
    undeflated KIND PAYLOAD     the same, where only the peer may have
    as it is KIND PAYLOAD       the same, where the peer does not compress it; our end does what it likes
    remembered TEXT             send a short text twice: when it comes back for the second time it is much shorter on the wire if
                                our end takes over its context, and as long as before if it does not
    many COUNT                  send so many messages in a row, then expect them all back, in order
    fragments KIND [PAYLOAD..]  send one message in these frames, with a ping after the first, and expect it back whole
    ping PAYLOAD                send a ping and expect its payload in a pong
    hold SECONDS                wait; the connection must still be open then
    close CODE REASON           close, and expect the same code in the answer; CODE None is a Close frame without a body
    closed CODE REASON          expect to be closed with these
    drop                        drop the transport without a closing handshake
    dropped                     expect the other side to do so

A scenario whose last step does not end the connection is closed with 1000. A PAYLOAD is {"text": TEXT, "times": COUNT},
{"bytes": LENGTH} or, of what does not compress, {"noise": LENGTH}.
"""

PEERS = {
    "websockets": {"program": "websockets_peer.py"},
    "aiohttp": {"program": "aiohttp_peer.py"},
    "ws": {"program": "ws_peer.mjs"},
}
ROLES = ["client", "server"]  # the peer's
RUNTIMES = ["tokio", "smol", "async-std"]
SCHEMES = ["ws", "wss"]

FORGETS = ["server_no_context_takeover", "client_no_context_takeover"]
WINDOWS = ["server_max_window_bits", "client_max_window_bits"]


def deflate(**parameters):
    """A configuration of permessage-deflate, which both ends are given and have to agree on: parameters of RFC 7692 §7.1."""
    header = "; ".join(["permessage-deflate", *(name if value is True else f"{name}={value}" for name, value in parameters.items())])
    return {
        "name": "+".join(f"{name}={value}" if value is not True else name for name, value in parameters.items()) or "takeover",
        "parameters": parameters,
        "agreed": {(peer, role): agreed_with(peer, role, parameters) for peer in PEERS for role in ROLES},
        "arguments": ["--deflate", header],
    }


def agreed_with(peer, role, parameters):
    """What is agreed on with a peer in this role."""
    if peer != "aiohttp":
        return parameters
    # It never says a window of 15 bits, as client hints at none, and as server answers nothing about the client.
    return {
        name: value for name, value in parameters.items() if value != 15 and not (role == "server" and name.startswith("client_"))
    }


# None is without. Each runs on these runtimes and schemes: the second and the third of a row.
BOTH_FORGET = deflate(**dict.fromkeys(FORGETS, True))
CONFIGURATIONS = [
    (None, RUNTIMES, SCHEMES),
    (BOTH_FORGET, RUNTIMES, SCHEMES),
    (deflate(), ["tokio"], ["ws"]),
    *((deflate(**{forgets: True}), ["tokio"], ["ws"]) for forgets in FORGETS),
    *((deflate(**dict.fromkeys(WINDOWS, bits)), ["tokio"], ["ws"]) for bits in (9, 15)),
    (deflate(**dict.fromkeys(FORGETS, True), **dict.fromkeys(WINDOWS, 9)), ["tokio"], ["ws"]),
]

# What a peer's library has no call for.
LACKS = {
    ("websockets", "close: no code"): "it always sends a code",
    ("aiohttp", "close: no code"): "it always sends a code",
    ("aiohttp", "fragments: text"): "it sends whole messages only",
    ("aiohttp", "fragments: binary"): "it sends whole messages only",
    ("aiohttp", "deflate: a fragment in between"): "it sends whole messages only",
    ("aiohttp", "deflate: some messages as they are"): "it compresses all messages or none",
}


def text(content, times=1):
    return {"text": content, "times": times}


def binary(length):
    return {"bytes": length}


def noise(length):
    return {"noise": length}


def close_by_us(code, reason):
    """Our server has a route for it, our client arguments. The peer may answer with a code of its own, as aiohttp's server does."""
    from urllib.parse import quote

    return {
        "path": f"/close/{code}?reason={quote(reason)}",
        "arguments": ["--close", str(code), "--reason", reason],
        "steps": [["closed", code, reason]],
        "says": rf"closed by us: the closing handshake is complete; received \d+.*; sent {code}.*",
    }


def subprotocol(offered, served, chosen):
    return {
        "offered": offered,
        "served": served,
        "chosen": chosen,
        "steps": [["echo", "text", text("with a subprotocol")]],
        "says": rf"subprotocol: {chosen}" if chosen else None,
    }


MEBIBYTE = 1 << 20
CLOSES = [(1000, "done"), (3000, "registered é"), (4999, "private 🦀")]

# Letters without a pattern: deflate gets them shorter, but only one that remembers them gets them much shorter. They fit into the
# smallest window.
LETTERS = "".join("abcdefghijklmnop"[(index * index * 7919 >> 3) * 2654435761 % 4093 % 16] for index in range(150))

# A scenario may have: `path` on our server, `arguments` for our client, the subprotocols `offered` and `served`, that which is
# `chosen` of them, the `roles` it is for, whether it is about `messages`, so that it runs with every agreement about
# permessage-deflate, or about `deflate`, so that it does not run without, and what our client `says` at some line, as a pattern.
SCENARIOS = {
    "text": {"messages": True, "steps": [["echo", "text", text("Hello, sockets")], ["echo", "text", text("🦀 👩‍👩‍👧‍👦 é 漢字")]]},
    "binary": {"steps": [["echo", "binary", binary(256)]]},
    "empty messages": {"messages": True, "steps": [["echo", "text", text("")], ["echo", "binary", binary(0)], ["echo", "text", text("after")]]},
    "lengths where a header grows": {
        "steps": [["echo", kind, payload]
                  for length in (125, 126, 127, 65535, 65536, 65537)
                  for kind, payload in (("text", text("x", length)), ("binary", binary(length)))],
    },
    # Characters of one to four bytes, so that frame and buffer borders fall within them.
    "1 MiB of text": {"messages": True, "steps": [["echo", "text", text("aé€🦀" + "sixsix", MEBIBYTE // 16)]]},
    "1 MiB of binary": {"messages": True, "steps": [["echo", "binary", binary(MEBIBYTE)]]},
    "1000 messages in a row": {"messages": True, "steps": [["many", 1000]]},
    "fragments: text": {"messages": True, "steps": [["fragments", "text", [text("frag"), text("m€nted "), text(""), text("🦀", 5000)]]]},
    "fragments: binary": {"messages": True, "steps": [["fragments", "binary", [binary(1), binary(70_000), binary(0), binary(300)]]]},
    "fragments by us, and pings": {
        "messages": True,
        "path": "/echo/in-fragments",
        "arguments": ["--fragment-len", "1000", "--ping-interval", "20"],
        "steps": [["echo", "text", text("aé€🦀", 10_000)], ["echo", "binary", binary(100_000)], ["hold", 0.5],
                  ["echo", "text", text("still here")]],
        "says": r"round trip: .+",
    },
    "deflate: what compresses": {
        "deflate": True,
        "steps": [["deflated", "text", text("the tide comes in, ", 500)], ["deflated", "binary", binary(10_000)],
                  ["deflated", "text", text("aé€🦀" + "sixsix", MEBIBYTE // 16)]],
    },
    "deflate: what does not": {
        "deflate": True,
        "steps": [["undeflated", "binary", noise(length)] for length in (100, 5000, MEBIBYTE)]
                 + [["undeflated", "text", text("")], ["undeflated", "binary", noise(0)]],
    },
    "deflate: some messages as they are": {
        "deflate": True,
        "steps": [[step, kind, payload]
                  for kind, payload in (("text", text("now and then, ", 300)), ("binary", noise(3000)), ("text", text("")))
                  for step in ("as it is", "echo", "echo", "as it is", "as it is")],
    },
    "deflate: what was said before": {"deflate": True, "steps": [["remembered", LETTERS], ["remembered", LETTERS.upper()]]},
    "deflate: a fragment in between": {
        "deflate": True,
        "steps": [["deflated", "text", text("whole", 200)], ["fragments", "text", [text("part", 100), text("", 1), text("part", 100)]],
                  ["deflated", "text", text("whole", 200)]],
    },
    "pings": {"steps": [["ping", text("")], ["ping", text("here?")], ["ping", text("x", 125)], ["echo", "text", text("after")]]},
    "subprotocol: echo.v1": subprotocol(["echo.v1"], ["echo.v1", "echo.v2"], "echo.v1"),
    "subprotocol: echo.v2": subprotocol(["echo.v2"], ["echo.v1", "echo.v2"], "echo.v2"),
    "subprotocol: one of two": subprotocol(["nobody.serves.this", "echo.v2"], ["echo.v2"], "echo.v2"),
    "subprotocol: none": subprotocol([], ["echo.v1", "echo.v2"], None),
    **{
        f"close: {code}": {
            "steps": [["echo", "text", text("before")], ["close", code, reason]],
            "says": rf"closed by the peer: the closing handshake is complete; received {code}.*{reason}.*; sent {code}.*",
        }
        for code, reason in CLOSES
    },
    "close: no code": {
        "steps": [["close", None, ""]],
        "says": r"closed by the peer: the closing handshake is complete; .*",
    },
    **{f"close by us: {code}": close_by_us(code, reason) for code, reason in CLOSES},
    "drop": {
        "steps": [["echo", "text", text("before")], ["drop"]],
        "says": r"closed by the peer: the transport (ended without a Close frame|failed: .*)",
    },
    "drop by us": {
        "roles": ["server"],
        "arguments": ["--terminate"],
        "steps": [["echo", "text", text("before")], ["dropped"]],
        "says": r"closed by us: the transport was dropped",
    },
}
