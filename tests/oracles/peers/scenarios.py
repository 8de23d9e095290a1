"""What the peers and we do together: the table behind drive.py.

Each scenario runs for every peer, in both roles, on every runtime, over every scheme, with every deflate configuration. Our
end always echoes, so a scenario is the same whoever of the two is the server: it is what the peer does, a list of steps that
every peer program knows:

    echo KIND PAYLOAD           send a message and expect it back
    many COUNT                  send so many messages in a row, then expect them all back, in order
    fragments KIND [PAYLOAD..]  send one message in these frames, with a ping after the first, and expect it back whole
    ping PAYLOAD                send a ping and expect its payload in a pong
    hold SECONDS                wait; the connection must still be open then
    close CODE REASON           close, and expect the same code in the answer; CODE None is a Close frame without a body
    closed CODE REASON          expect to be closed with these
    drop                        drop the transport without a closing handshake
    dropped                     expect the other side to do so

A scenario whose last step does not end the connection is closed with 1000. A PAYLOAD is {"text": TEXT, "times": COUNT} or
{"bytes": LENGTH}.
"""

PEERS = {
    "websockets": {"program": "websockets_peer.py"},
    "aiohttp": {"program": "aiohttp_peer.py"},
    "ws": {"program": "ws_peer.mjs"},
}
ROLES = ["client", "server"]  # the peer's
RUNTIMES = ["tokio", "smol", "async-std"]
SCHEMES = ["ws", "wss"]

# permessage-deflate: each entry is a configuration of RFC 7692 that the peer offers or accepts and that our side must agree to,
# None is without. An entry is {"name": .., "peer": {PARAMETER: VALUE..}, "demo": [ARGUMENT..], "echo-client": [ARGUMENT..]}
# with the parameters of RFC 7692 §7.1, for instance {"server_no_context_takeover": True, "client_max_window_bits": 10}, and what
# our programs need to be told.
DEFLATE = [None]

# What a peer's library has no call for.
LACKS = {
    ("websockets", "close: no code"): "it always sends a code",
    ("aiohttp", "close: no code"): "it always sends a code",
    ("aiohttp", "fragments: text"): "it sends whole messages only",
    ("aiohttp", "fragments: binary"): "it sends whole messages only",
}


def text(content, times=1):
    return {"text": content, "times": times}


def binary(length):
    return {"bytes": length}


def close_by_us(code, reason):
    """Our server has a route for it, our client arguments. The peer may answer with a code of its own, as aiohttp's server does."""
    from urllib.parse import quote

    return {
        "path": f"/close/{code}?reason={quote(reason)}",
        "arguments": ["--close", str(code), "--reason", reason],
        "steps": [["closed", code, reason]],
        "says": rf"closed by us: the closing handshake is complete; the peer said \d+.*; we said {code}.*",
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

# A scenario may have: `path` on our server, `arguments` for our client, the subprotocols `offered` and `served`, that which is
# `chosen` of them, the `roles` it is for, and what our client `says` at some line, as a pattern.
SCENARIOS = {
    "text": {"steps": [["echo", "text", text("Hello, sockets")], ["echo", "text", text("🦀 👩‍👩‍👧‍👦 é 漢字")]]},
    "binary": {"steps": [["echo", "binary", binary(256)]]},
    "empty messages": {"steps": [["echo", "text", text("")], ["echo", "binary", binary(0)], ["echo", "text", text("after")]]},
    "lengths where a header grows": {
        "steps": [["echo", kind, payload]
                  for length in (125, 126, 127, 65535, 65536, 65537)
                  for kind, payload in (("text", text("x", length)), ("binary", binary(length)))],
    },
    # Characters of one to four bytes, so that frame and buffer borders fall within them.
    "1 MiB of text": {"steps": [["echo", "text", text("aé€🦀" + "sixsix", MEBIBYTE // 16)]]},
    "1 MiB of binary": {"steps": [["echo", "binary", binary(MEBIBYTE)]]},
    "1000 messages in a row": {"steps": [["many", 1000]]},
    "fragments: text": {"steps": [["fragments", "text", [text("frag"), text("m€nted "), text(""), text("🦀", 5000)]]]},
    "fragments: binary": {"steps": [["fragments", "binary", [binary(1), binary(70_000), binary(0), binary(300)]]]},
    "fragments by us, and pings": {
        "path": "/echo/in-fragments",
        "arguments": ["--fragment-len", "1000", "--ping-interval", "20"],
        "steps": [["echo", "text", text("aé€🦀", 10_000)], ["echo", "binary", binary(100_000)], ["hold", 0.5],
                  ["echo", "text", text("still here")]],
        "says": r"round trip: .+",
    },
    "pings": {"steps": [["ping", text("")], ["ping", text("here?")], ["ping", text("x", 125)], ["echo", "text", text("after")]]},
    "subprotocol: echo.v1": subprotocol(["echo.v1"], ["echo.v1", "echo.v2"], "echo.v1"),
    "subprotocol: echo.v2": subprotocol(["echo.v2"], ["echo.v1", "echo.v2"], "echo.v2"),
    "subprotocol: one of two": subprotocol(["nobody.serves.this", "echo.v2"], ["echo.v2"], "echo.v2"),
    "subprotocol: none": subprotocol([], ["echo.v1", "echo.v2"], None),
    **{
        f"close: {code}": {
            "steps": [["echo", "text", text("before")], ["close", code, reason]],
            "says": rf"closed by the peer: the closing handshake is complete; the peer said {code}.*{reason}.*; we said {code}.*",
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
