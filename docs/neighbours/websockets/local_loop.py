"""A loop of one thread over the bare protocol of websockets. Each message is echoed with its number. It has no deadlines:
the protocol has no clock."""

import os
import selectors
import socket

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

selector = selectors.DefaultSelector()
count = 0


class Connection:
    def __init__(self, stream):
        stream.setblocking(False)
        self.stream = stream
        self.protocol = ServerProtocol()
        self.outgoing = bytearray()
        self.is_ending = False
        self.parts = []
        selector.register(stream, selectors.EVENT_READ, self.turn)

    def turn(self, events):
        try:
            if events & selectors.EVENT_READ:
                self.read()
            self.write()
        except BlockingIOError:
            pass
        except OSError:
            self.drop()

    def read(self):
        if data := self.stream.recv(65536):
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self.receive(event)

    def receive(self, frame):
        global count
        if frame.opcode is not Opcode.CONT:
            self.is_text = frame.opcode is Opcode.TEXT
        self.parts.append(frame.data)
        if frame.fin:
            count += 1
            text = b"".join(self.parts) if self.is_text else b"(binary)"
            self.parts = []
            if self.protocol.state is OPEN:
                self.protocol.send_text(b"%d: %s" % (count, text))

    def write(self):
        for data in self.protocol.data_to_send():
            self.outgoing += data
            self.is_ending |= not data
        interest = selectors.EVENT_READ
        if self.outgoing:
            selector.modify(self.stream, interest | selectors.EVENT_WRITE, self.turn)
            del self.outgoing[: self.stream.send(self.outgoing)]
        if not self.outgoing:
            selector.modify(self.stream, interest, self.turn)
            if self.is_ending:
                self.drop()

    def drop(self):
        selector.unregister(self.stream)
        self.stream.close()


def main():
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 8080))))
    selector.register(listener, selectors.EVENT_READ, lambda _: Connection(listener.accept()[0]))
    while True:
        for key, events in selector.select():
            key.data(events)


if __name__ == "__main__":
    main()
