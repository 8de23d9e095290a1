"""examples/ffi/include/sockless.h for Python, by ctypes."""

import ctypes
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint8, c_uint16, c_uint64, c_void_p

OPEN, TEXT, BINARY, PING, PONG, PEER_CLOSED, CLOSED, WRITE, SHUTDOWN_WRITE, WAIT, DROP = range(1, 12)
NEVER = 2**64 - 1


class Output(ctypes.Structure):
    _fields_ = [
        ("kind", c_int),
        ("code", c_uint16),
        ("read", c_uint8),
        ("write", c_uint8),
        ("data", c_void_p),
        ("len", c_size_t),
        ("until", c_uint64),
    ]

    def bytes(self):
        """A copy of the data."""
        return ctypes.string_at(self.data, self.len) if self.len else b""

    def seconds_left(self):
        """Until the connection is to be polled again, or None."""
        return None if self.until == NEVER else max(0, self.until - now()) / 1000


def load(path):
    library = ctypes.CDLL(path)
    takes_bytes = [c_void_p, c_char_p, c_size_t, c_uint64]
    for name, result, arguments in [
        ("server", c_void_p, [c_uint64]),
        ("client", c_void_p, [c_char_p, c_char_p, c_char_p, c_uint64]),
        ("free", None, [c_void_p]),
        ("feed", c_int, takes_bytes),
        ("feed_eof", c_int, [c_void_p, c_uint64]),
        ("poll", c_int, [c_void_p, POINTER(Output), c_uint64]),
        ("sent", c_int, [c_void_p, c_size_t, c_uint64]),
        ("send_text", c_int, takes_bytes),
        ("send_binary", c_int, takes_bytes),
        ("ping", c_int, takes_bytes),
        ("close", c_int, [c_void_p, c_uint16, c_char_p, c_size_t, c_uint64]),
        ("abort", c_int, [c_void_p, c_uint64]),
    ]:
        function = getattr(library, f"sockless_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Error(Exception):
    """A negative result."""


def now():
    return time.monotonic_ns() // 1_000_000


class Connection:
    """One end of a transport. Its methods are those of the header; errors are exceptions."""

    def __init__(self, library, pointer):
        if not pointer:
            raise ValueError("an invalid host, target or seed")
        self.library, self.pointer = library, pointer

    @classmethod
    def server(cls, library):
        return cls(library, library.sockless_server(now()))

    @classmethod
    def client(cls, library, host, target, seed):
        assert len(seed) == 32
        return cls(library, library.sockless_client(host.encode(), target.encode(), seed, now()))

    def free(self):
        self.library.sockless_free(self.pointer)
        self.pointer = None

    def call(self, name, *arguments):
        result = getattr(self.library, f"sockless_{name}")(self.pointer, *arguments, now())
        if result < 0:
            raise Error(name, result)
        return result

    def feed(self, data):
        self.call("feed", data, len(data))

    def feed_eof(self):
        self.call("feed_eof")

    def poll(self):
        output = Output()
        self.call("poll", byref(output))
        return output

    def sent(self, length):
        self.call("sent", length)

    def send(self, message):
        if isinstance(message, str):
            data = message.encode()
            self.call("send_text", data, len(data))
        else:
            self.call("send_binary", message, len(message))

    def ping(self, payload):
        self.call("ping", payload, len(payload))

    def close(self, code=1000, reason=b""):
        self.call("close", code, reason, len(reason))

    def abort(self):
        self.call("abort")
