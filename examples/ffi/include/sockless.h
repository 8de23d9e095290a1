/* WebSockets without I/O: bytes and time in, events and bytes out.
 *
 * A connection is an endpoint of one transport, from the opening handshake on. The program owns the transport and the clock:
 *
 *     sockless_poll      what to do next, until it is to wait or to drop the transport:
 *         an event       react: send, ping, close
 *         SOCKLESS_WRITE write `data` once, and report with sockless_sent how much was taken; if nothing is reported before the
 *                        next sockless_poll, the transport is taken to be full
 *         SOCKLESS_SHUTDOWN_WRITE   shut down the sending side; this occurs once
 *         SOCKLESS_WAIT  wait for bytes if `read`, for room if `write`, and until `until`; pass what was read to sockless_feed, the
 *                        end to sockless_feed_eof; then poll again
 *         SOCKLESS_DROP  drop the transport, and free the connection
 *
 * All calls take the time in milliseconds since an epoch that the program chooses. A time before that of an earlier call counts as
 * that one.
 *
 * Functions that return an int return 0 or more on success, and one of SOCKLESS_E_* otherwise: a null pointer or an invalid argument
 * is an error and changes nothing. What they cannot detect is undefined, as everywhere in C: a connection that was freed, a pointer
 * with fewer bytes than its length states, or one connection in two threads at the same time. Different connections are independent.
 *
 * No function aborts the process or unwinds: a panic, which would be a bug of the library, makes this and all later calls for the
 * connection return SOCKLESS_E_PANIC. Only where memory ends the process may abort, as described in the crate sockless-core.
 */
#ifndef SOCKLESS_H
#define SOCKLESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sockless_connection sockless_connection;

enum {
    SOCKLESS_E_NULL = -1,    /* the connection, or another pointer, is null */
    SOCKLESS_E_CLOSED = -2,  /* the connection is not open: not yet, or no longer */
    SOCKLESS_E_INVALID = -3, /* the argument is invalid, such as text that is not UTF-8 */
    SOCKLESS_E_PANIC = -4    /* a bug of the library has ended the connection */
};

enum {
    SOCKLESS_OPEN = 1,        /* the opening handshake is complete; data: a server's request target, empty for a client */
    SOCKLESS_TEXT = 2,        /* a message; data: UTF-8 */
    SOCKLESS_BINARY = 3,      /* a message */
    SOCKLESS_PING = 4,        /* has been answered */
    SOCKLESS_PONG = 5,
    SOCKLESS_PEER_CLOSED = 6, /* the peer closes; code, and data: its reason, UTF-8; has been answered */
    SOCKLESS_CLOSED = 7,      /* the last event, exactly once; code: that of the peer, or 0; data: why, one line of UTF-8 */
    SOCKLESS_WRITE = 8,
    SOCKLESS_SHUTDOWN_WRITE = 9,
    SOCKLESS_WAIT = 10,
    SOCKLESS_DROP = 11
};

typedef struct {
    int kind;
    uint16_t code;       /* a close code; 0 without one, and with other kinds */
    uint8_t read;        /* SOCKLESS_WAIT: 1 if bytes are to be read. While it is 0, do not read */
    uint8_t write;       /* SOCKLESS_WAIT: 1 if bytes are left to write */
    const uint8_t *data; /* of an event, valid until the next sockless_poll; to write, until the next call for the connection */
    size_t len;
    uint64_t until;      /* SOCKLESS_WAIT: when to poll again in any case. If it has passed, read without waiting, and poll */
} sockless_output;

#define SOCKLESS_NEVER UINT64_MAX

/* The server's end of a transport: it waits for the request of a client and accepts it, or answers with an error. Never null, except
 * where memory ends. */
sockless_connection *sockless_server(uint64_t now);

/* The client's end: it requests `target`, a path with an optional query, from `host`, which has a port unless it is the default. Both
 * end with a NUL. `seed` is 32 random bytes, used for this connection only. Null if an argument is null or invalid. */
sockless_connection *sockless_client(const char *host, const char *target, const uint8_t *seed, uint64_t now);

/* Does nothing with null. */
void sockless_free(sockless_connection *connection);

/* Copies bytes that the transport delivered. */
int sockless_feed(sockless_connection *connection, const uint8_t *bytes, size_t len, uint64_t now);

/* The transport delivers no more. Events of bytes that were fed before are still returned. */
int sockless_feed_eof(sockless_connection *connection, uint64_t now);

/* Fills `output` with the next thing to do. */
int sockless_poll(sockless_connection *connection, sockless_output *output, uint64_t now);

/* The transport has taken the first `len` bytes of the last SOCKLESS_WRITE. SOCKLESS_E_INVALID if there are fewer. */
int sockless_sent(sockless_connection *connection, size_t len, uint64_t now);

/* Copies a message to be sent. */
int sockless_send_text(sockless_connection *connection, const uint8_t *utf8, size_t len, uint64_t now);
int sockless_send_binary(sockless_connection *connection, const uint8_t *bytes, size_t len, uint64_t now);

/* Sends a ping with at most 125 bytes. Pings of the peer are answered automatically. */
int sockless_ping(sockless_connection *connection, const uint8_t *bytes, size_t len, uint64_t now);

/* Starts the closing handshake; SOCKLESS_CLOSED follows in time. `code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999; `reason` is
 * UTF-8 and is cut to 123 bytes. Before the opening handshake is complete, it ends the connection at once. */
int sockless_close(sockless_connection *connection, uint16_t code, const uint8_t *reason, size_t len, uint64_t now);

/* Ends the connection without a closing handshake. */
int sockless_abort(sockless_connection *connection, uint64_t now);

#ifdef __cplusplus
}
#endif

#endif
