/* A client and a server of sockless.h talk in memory. Ends with 0 if they understand each other. */
#include <sockless.h>
#include <stdio.h>
#include <string.h>

static const uint64_t now = 1000;

/* Reports what failed, and returns 0. */
static int fail(const char *what) {
    fprintf(stderr, "talk: %s\n", what);
    return 0;
}

/* Moves all output of one end to the other; 0 if a call fails. */
static int move(sockless_connection *from, sockless_connection *to) {
    size_t len;
    const uint8_t *output;
    while ((output = sockless_output(from, &len)), len > 0) {
        if (sockless_feed(to, output, len, now) != 0 || sockless_sent(from, len, now) != 0) return 0;
    }
    return 1;
}

/* Whether the next event is of this kind and has this data. */
static int is_next(sockless_connection *connection, int kind, const char *data) {
    sockless_event event;
    if (sockless_next_event(connection, &event, now) != 1) return 0;
    return event.kind == kind && event.len == strlen(data) && memcmp(event.data, data, event.len) == 0;
}

static int talk(sockless_connection *client, sockless_connection *server) {
    static const char text[] = "gr\xC3\xBC\xC3\x9F dich";
    const uint8_t *utf8 = (const uint8_t *)text;

    if (!move(client, server) || !is_next(server, SOCKLESS_OPEN, "/chat?room=1")) return fail("the request");
    if (!move(server, client) || !is_next(client, SOCKLESS_OPEN, "")) return fail("the answer");
    if (sockless_send_text(client, utf8, strlen(text), now) != 0 || !move(client, server)) return fail("sending");
    if (!is_next(server, SOCKLESS_TEXT, text)) return fail("the message");
    if (sockless_send_text(client, utf8, 3, now) != SOCKLESS_E_INVALID) return fail("half a character");
    if (sockless_feed(NULL, NULL, 0, now) != SOCKLESS_E_NULL) return fail("a null pointer");
    return 1;
}

static int end(sockless_connection *client, sockless_connection *server) {
    sockless_event event;

    if (sockless_close(server, 1000, (const uint8_t *)"bye", 3, now) != 0 || !move(server, client)) return fail("closing");
    if (!is_next(client, SOCKLESS_PEER_CLOSED, "bye")) return fail("the close");
    if (sockless_next_event(client, &event, now) != 1 || event.kind != SOCKLESS_CLOSED) return fail("the client's end");
    if (sockless_next_event(client, &event, now) != 0) return fail("an event after the client's end");
    if (!move(client, server)) return fail("the reply");
    if (sockless_next_event(server, &event, now) != 1 || event.kind != SOCKLESS_CLOSED) return fail("the server's end");
    if (event.code != 1000 || sockless_transport(server) == SOCKLESS_KEEP) return fail("the server's transport");
    return 1;
}

int main(void) {
    static const uint8_t seed[32] = {7};
    sockless_connection *client = sockless_client("example.com", "/chat?room=1", seed, now);
    sockless_connection *server = sockless_server(now);
    int ok = client != NULL && server != NULL && talk(client, server) && end(client, server);
    sockless_free(client);
    sockless_free(server);
    if (ok) puts("talk: ok");
    return !ok;
}
