"""A passive observer by websockets: prints the messages of a captured connection, given the bytes of both directions."""

import sys
from pathlib import Path

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.headers import parse_extension
from websockets.http11 import Request, Response
from websockets.streams import StreamReader


def run(step):
    """Returns the result of a step, for which all bytes are there."""
    try:
        next(step)
    except StopIteration as done:
        return done.value
    raise EOFError("the bytes are incomplete")


def open_capture(path):
    reader = StreamReader()
    reader.feed_data(Path(path).read_bytes())
    reader.feed_eof()
    return reader


def agreed(response, sender):
    """The extension as the receiver of this direction has it."""
    for header in response.headers.get_all("Sec-WebSocket-Extensions"):
        for name, params in parse_extension(header):
            if name != "permessage-deflate":
                raise ValueError(f"unknown extension {name}")
            params = dict(params)
            bits = int(params.get(f"{sender}_max_window_bits") or 15)
            yield PerMessageDeflate(f"{sender}_no_context_takeover" in params, True, bits, 15)


def messages(reader, mask, extensions):
    """Yields each message, joined, and each control frame."""
    kind, parts = None, []
    while not run(reader.at_eof()):
        frame = run(Frame.parse(reader.read_exact, mask=mask, max_size=1 << 30, extensions=extensions))
        if frame.opcode is Opcode.CLOSE:
            yield str(Close.parse(frame.data))
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            yield f"{frame.opcode.name}: {frame.data!r}"
        else:
            kind = kind or frame.opcode
            parts.append(frame.data)
            if frame.fin:
                data = b"".join(parts)
                yield data.decode() if kind is Opcode.TEXT else data
                kind, parts = None, []


def main(client, server):
    client, server = open_capture(client), open_capture(server)
    run(Request.parse(client.read_line))
    response = run(Response.parse(server.read_line, server.read_exact, server.read_to_eof))
    if response.status_code != 101:
        raise ValueError(f"not opened: {response.status_code}")
    for sender, reader in ("client", client), ("server", server):
        for message in messages(reader, sender == "client", list(agreed(response, sender))):
            print(f"{sender}: {message}")


if __name__ == "__main__":
    main(*sys.argv[1:])
