/* WebSockets without I/O: bytes and time in, events and bytes out.
 *
 * A connection is an endpoint of one transport, from the opening handshake on. The program owns the transport and the clock:
 *
 *     bytes arrive            sockless_feed, or sockless_feed_eof at the end of the transport
 *     then                    sockless_next_event until it returns 0
 *     then                    write sockless_output and report it with sockless_sent, until it is empty
 *     then                    do with the transport what sockless_transport returns
 *     wait for bytes, or until sockless_timeout, then sockless_tick; and start again
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
    SOCKLESS_CLOSED = 7       /* exactly once and last; code: that of the peer, or 0; data: why, one line of UTF-8 */
};

typedef struct {
    int kind;
    uint16_t code;       /* a close code; 0 without one, and with other events */
    const uint8_t *data; /* valid until the next call for the connection that is not sockless_timeout or sockless_transport */
    size_t len;
} sockless_event;

enum { SOCKLESS_KEEP = 0, SOCKLESS_SHUTDOWN_WRITE = 1, SOCKLESS_DROP = 2 };

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

/* Time has passed: call it at sockless_timeout; a call at another time does no harm. Then ask for events and output. */
int sockless_tick(sockless_connection *connection, uint64_t now);

/* Returns 1 and fills `event`, or returns 0 without an event. */
int sockless_next_event(sockless_connection *connection, sockless_event *event, uint64_t now);

/* Returns the next bytes to write, and their number in `len`. With no bytes, or after an error, the number is 0. They are valid until
 * the next call for the connection. */
const uint8_t *sockless_output(sockless_connection *connection, size_t *len);

/* The transport has taken the first `len` bytes of the output; 0 if it takes none for now. SOCKLESS_E_INVALID if there are fewer. */
int sockless_sent(sockless_connection *connection, size_t len, uint64_t now);

/* What to do with the transport once the output is empty: SOCKLESS_KEEP, SOCKLESS_SHUTDOWN_WRITE or SOCKLESS_DROP. */
int sockless_transport(const sockless_connection *connection);

/* The time of the next sockless_tick, unless another call comes earlier; SOCKLESS_NEVER without one. */
uint64_t sockless_timeout(const sockless_connection *connection);

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
