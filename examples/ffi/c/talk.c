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

/* The next thing to do that is not to write: what one end writes is fed to the other. Returns its kind, or 0 if a call fails. */
static int next(sockless_connection *from, sockless_connection *to, sockless_output *output) {
    for (;;) {
        if (sockless_poll(from, output, now) != 0) return 0;
        if (output->kind != SOCKLESS_WRITE) return output->kind;
        if (sockless_feed(to, output->data, output->len, now) != 0) return 0;
        if (sockless_sent(from, output->len, now) != 0) return 0;
    }
}

/* Whether the next event is of this kind and has this data. */
static int is_next(sockless_connection *from, sockless_connection *to, int kind, const char *data) {
    sockless_output output;
    if (next(from, to, &output) != kind) return 0;
    return output.len == strlen(data) && memcmp(output.data, data, output.len) == 0;
}

static int talk(sockless_connection *client, sockless_connection *server) {
    static const char text[] = "gr\xC3\xBC\xC3\x9F dich";
    const uint8_t *utf8 = (const uint8_t *)text;
    sockless_output output;

    if (next(client, server, &output) != SOCKLESS_WAIT || !output.read || output.write) return fail("the wait for the answer");
    if (output.until == SOCKLESS_NEVER) return fail("the deadline of the opening handshake");
    if (!is_next(server, client, SOCKLESS_OPEN, "/chat?room=1")) return fail("the request");
    if (next(server, client, &output) != SOCKLESS_WAIT) return fail("the answer");
    if (!is_next(client, server, SOCKLESS_OPEN, "")) return fail("the client's end is open");
    if (sockless_send_text(client, utf8, strlen(text), now) != 0) return fail("sending");
    if (next(client, server, &output) != SOCKLESS_WAIT) return fail("writing");
    if (!is_next(server, client, SOCKLESS_TEXT, text)) return fail("the message");
    if (sockless_send_text(client, utf8, 3, now) != SOCKLESS_E_INVALID) return fail("half a character");
    if (sockless_feed(NULL, NULL, 0, now) != SOCKLESS_E_NULL) return fail("a null pointer");
    return 1;
}

static int end(sockless_connection *client, sockless_connection *server) {
    sockless_output output;

    if (sockless_close(server, 1000, (const uint8_t *)"bye", 3, now) != 0) return fail("closing");
    if (next(server, client, &output) != SOCKLESS_WAIT) return fail("the Close frame");
    if (!is_next(client, server, SOCKLESS_PEER_CLOSED, "bye")) return fail("the close");
    if (next(client, server, &output) != SOCKLESS_CLOSED) return fail("the client's end");
    if (next(client, server, &output) != SOCKLESS_WAIT) return fail("the reply, and the wait for the end of the transport");
    if (next(server, client, &output) != SOCKLESS_CLOSED || output.code != 1000) return fail("the server's end");
    if (next(server, client, &output) != SOCKLESS_DROP) return fail("the server's transport");
    if (sockless_feed_eof(client, now) != 0) return fail("the end of the transport");
    if (next(client, server, &output) != SOCKLESS_DROP) return fail("the client's transport");
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
