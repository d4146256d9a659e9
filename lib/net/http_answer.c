/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer's side of an HTTP/1 exchange.
 *
 * Theory of operation
 *
 * What: the carrier of exchanges on an HTTP/1 connection. An answer is a head and body bytes in one
 * framing. The head is kept back until the first bytes come (or the next loop turn), so that head
 * and first bytes leave in one writev.
 *
 *   NONE ──begin──> BEGUN ──bytes, turn──> SENT ──end──> ENDED
 *     └───────────────────────reply────────────────────────────────^
 *
 * Headers that the handler gives are gathered, checked by http_write, in @headers, whose storage is
 * lent by the server and goes back when the head is sent. The server's own headers (Date, framing,
 * Connection) are put before them.
 *
 * Failure: a write that fails marks the connection broken; it tells the handler at its next turn,
 * never inside the handler's own call. An answer that breaks its own promise (more or fewer bytes
 * than announced, a begin too many) resets the connection: the client must not take it for a clean
 * end.
 */
#include "net/http_server_int.h"

#include <stdlib.h>

/* ---- request side ---- */

static void answer_pause(struct http_exchange *x)
{
    x->is_paused = true;
    http_server_update(http_conn_of(x));
}

static void answer_resume(struct http_exchange *x)
{
    if (!x->is_paused)
        return;
    x->is_paused = false;
    net_task_post(&http_conn_of(x)->turn);
    http_server_update(http_conn_of(x));
}

/* ---- head ---- */

static int put(int rc, struct adit_buf *b, const char *text)
{
    return rc == ADIT_OK ? adit_buf_append_str(b, text) : rc;
}

/* How the body is framed, and whether the connection stays; decided when the head leaves. */
static void settle_framing(struct http_exchange *x)
{
    const struct http_conn *c = http_conn_of(x);

    if (x->status == 204 || x->status == 304)
        x->framing = HTTP_FRAMING_NONE;
    x->no_body = x->framing == HTTP_FRAMING_NONE || x->method == HTTP_HEAD;
    if (x->framing == HTTP_FRAMING_CHUNKED && x->minor == 0 && !x->no_body)
        x->keep_alive = false; /* the close is the end */
    /* Of a body that was refused more may be on its way than is read: say so, or the client sends
     * its next request into the close. */
    if (x->status >= 400 && c->has_body && c->state == HTTP_CONN_BODY)
        x->keep_alive = false;
    if (c->server->is_draining)
        x->keep_alive = false;
}

static int put_framing(struct http_exchange *x, struct adit_buf *b, int rc)
{
    if (rc != ADIT_OK)
        return rc;
    switch (x->framing) {
    case HTTP_FRAMING_LENGTH:
        return http_write_header_u64(b, "Content-Length", x->left);
    case HTTP_FRAMING_CHUNKED:
        return x->minor == 0 ? rc : put(rc, b, "Transfer-Encoding: chunked\r\n");
    case HTTP_FRAMING_NONE: /* any other status without framing would run until the close */
        if (x->status == 204 || x->status == 304 || x->method == HTTP_HEAD)
            return rc;
        return put(rc, b, "Content-Length: 0\r\n");
    case HTTP_FRAMING_RAW:
        return put(rc, b, "Connection: Upgrade\r\n");
    }
    return rc;
}

/* Append the whole head to the server's scratch. */
static int put_head(struct http_exchange *x, struct adit_buf *b)
{
    struct http_server *s = http_conn_of(x)->server;
    int rc = http_write_status_line(b, x->status);

    rc = put(rc, b, "Date: ");
    rc = put(rc, b, http_server_date(s));
    rc = put(rc, b, "\r\n");
    rc = put_framing(x, b, rc);
    if (x->framing != HTTP_FRAMING_RAW && !x->keep_alive)
        rc = put(rc, b, "Connection: close\r\n");
    else if (x->framing != HTTP_FRAMING_RAW && x->minor == 0)
        rc = put(rc, b, "Connection: keep-alive\r\n");
    if (rc == ADIT_OK)
        rc = adit_buf_append_view(b, adit_buf_view(&x->headers));
    return put(rc, b, "\r\n");
}

/* ---- sending ---- */

static int broken(struct http_conn *c)
{
    c->is_broken = true;
    net_task_post(&c->turn);
    return ADIT_ERR_CLOSED;
}

/* The answer broke its promise. */
static int break_promise(struct http_conn *c)
{
    c->is_reset = true;
    return broken(c);
}

/*
 * Send @body (in a chunk if @is_chunk) and @tail, the head before them if it has not left yet.
 */
static int send_parts(struct http_exchange *x, bool is_chunk, struct adit_view body,
                      struct adit_view tail)
{
    struct http_conn *c = http_conn_of(x);
    struct adit_buf *b = &c->server->head;
    char chunk[HTTP_CHUNK_HEAD_CAP];
    int rc = ADIT_OK;

    if (c->is_broken)
        return ADIT_ERR_CLOSED;
    adit_buf_clear(b);
    if (x->answer == HTTP_ANSWER_BEGUN)
        rc = put_head(x, b);
    if (rc == ADIT_OK && is_chunk)
        rc = adit_buf_append(b, chunk, http_write_chunk_head(chunk, body.len));
    if (rc == ADIT_OK) {
        struct adit_view views[] = {adit_buf_view(b), body, tail};
        rc = net_stream_write(c->stream, views, 3);
    }
    if (x->answer == HTTP_ANSWER_BEGUN)
        http_exchange_fini(x);
    x->answer = HTTP_ANSWER_SENT;
    if (rc == ADIT_OK)
        return rc;
    (void)broken(c); /* rc says it */
    return rc == ADIT_ERR_LIMIT ? rc : ADIT_ERR_CLOSED;
}

static const struct adit_view nothing = {NULL, 0};
static const struct adit_view crlf = ADIT_VIEW("\r\n");
static const struct adit_view last_chunk = ADIT_VIEW("0\r\n\r\n");

void http_answer_send_pending(struct http_exchange *x)
{
    if (x->answer == HTTP_ANSWER_BEGUN)
        (void)send_parts(x, false, nothing, nothing); /* a failure marks the connection */
}

void http_answer_send_continue(struct http_exchange *x)
{
    static const struct adit_view interim = ADIT_VIEW("HTTP/1.1 100 Continue\r\n\r\n");
    struct http_conn *c = http_conn_of(x);

    x->expects_continue = false;
    if (net_stream_write(c->stream, &interim, 1) != ADIT_OK)
        (void)broken(c); /* told at the next turn */
}

static void answer_begin(struct http_exchange *x, unsigned status, enum http_framing framing,
                         uint64_t length)
{
    struct http_conn *c = http_conn_of(x);

    if (x->answer != HTTP_ANSWER_NONE || (framing == HTTP_FRAMING_RAW && !x->asked_upgrade)) {
        (void)break_promise(c); /* told at the next turn */
        return;
    }
    x->answer = HTTP_ANSWER_BEGUN;
    if (x->expects_continue) /* after this answer the client may send the body or not */
        x->keep_alive = x->expects_continue = false;
    x->status = status;
    x->framing = framing;
    x->left = length;
    settle_framing(x);
    if (framing == HTTP_FRAMING_RAW) {
        c->state = HTTP_CONN_RAW;
        x->is_paused = false;
        http_answer_send_pending(x);
        http_server_update(c);
        return;
    }
    net_task_post(&c->turn);
}

static int answer_write(struct http_exchange *x, struct adit_view bytes)
{
    struct http_conn *c = http_conn_of(x);

    if (c->is_broken || x->answer == HTTP_ANSWER_NONE || x->answer == HTTP_ANSWER_ENDED)
        return ADIT_ERR_CLOSED;
    if (bytes.len == 0)
        return ADIT_OK;
    if (x->framing == HTTP_FRAMING_LENGTH && bytes.len > x->left)
        return break_promise(c);
    if (x->no_body)
        return ADIT_OK;
    c->has_moved = true;
    if (x->framing == HTTP_FRAMING_CHUNKED && x->minor > 0)
        return send_parts(x, true, bytes, crlf);
    if (x->answer == HTTP_ANSWER_SENT && x->framing != HTTP_FRAMING_LENGTH)
        return send_parts(x, false, bytes, nothing);
    /* put_head announces what was left before these bytes */
    int rc = send_parts(x, false, bytes, nothing);
    x->left -= bytes.len;
    return rc;
}

static bool answer_is_congested(const struct http_exchange *x)
{
    return net_stream_is_congested(http_conn_of(x)->stream);
}

static void end_raw(struct http_exchange *x)
{
    struct http_conn *c = http_conn_of(x);

    x->answer = HTTP_ANSWER_ENDED;
    net_stream_shutdown(c->stream);
    if (c->peer_ended || c->is_broken)
        http_server_answered(c);
    else
        http_server_update(c);
}

static void answer_end(struct http_exchange *x)
{
    struct http_conn *c = http_conn_of(x);
    bool is_chunked = x->framing == HTTP_FRAMING_CHUNKED && x->minor > 0 && !x->no_body;

    if (x->framing == HTTP_FRAMING_RAW && x->answer != HTTP_ANSWER_NONE) {
        end_raw(x);
        return;
    }
    if (x->answer == HTTP_ANSWER_NONE ||
        (x->framing == HTTP_FRAMING_LENGTH && x->left && !x->no_body)) {
        http_server_reset(c);
        return;
    }
    if (x->answer == HTTP_ANSWER_BEGUN || is_chunked)
        (void)send_parts(x, false, nothing, is_chunked ? last_chunk : nothing); /* marks it */
    x->answer = HTTP_ANSWER_ENDED;
    http_server_answered(c);
}

static void answer_reply(struct http_exchange *x, unsigned status, struct adit_view body)
{
    struct http_conn *c = http_conn_of(x);

    if (x->answer != HTTP_ANSWER_NONE) {
        http_server_reset(c);
        return;
    }
    if (c->has_body && c->state == HTTP_CONN_BODY)
        x->keep_alive = false; /* the rest of the body will not be read: say so */
    x->answer = HTTP_ANSWER_BEGUN;
    x->status = status;
    x->framing = HTTP_FRAMING_LENGTH;
    x->left = body.len;
    settle_framing(x);
    (void)send_parts(x, false, x->no_body ? nothing : body, nothing); /* a failure marks it */
    x->answer = HTTP_ANSWER_ENDED;
    http_server_answered(c);
}

static void answer_reset(struct http_exchange *x)
{
    http_server_reset(http_conn_of(x));
}

const struct http_carrier http_answer_carrier = {
    .pause = answer_pause,
    .resume = answer_resume,
    .begin = answer_begin,
    .write = answer_write,
    .is_congested = answer_is_congested,
    .end = answer_end,
    .reply = answer_reply,
    .reset = answer_reset,
};

/* ---- answers of the server itself ---- */

void http_answer_send_refusal(struct http_conn *c, unsigned status, struct adit_view header_lines,
                              struct adit_view body)
{
    struct adit_buf *b = &c->server->head;
    int rc;

    adit_buf_clear(b);
    rc = http_write_status_line(b, status);
    rc = put(rc, b, "Date: ");
    rc = put(rc, b, http_server_date(c->server));
    rc = put(rc, b, "\r\nConnection: close\r\n");
    if (rc == ADIT_OK)
        rc = http_write_header_u64(b, "Content-Length", body.len);
    if (rc == ADIT_OK)
        rc = adit_buf_append_view(b, header_lines);
    rc = put(rc, b, "\r\n");
    if (rc == ADIT_OK) {
        struct adit_view views[] = {adit_buf_view(b), body};
        rc = net_stream_write(c->stream, views, 2);
    }
    (void)rc; /* the connection is closed in any case */
}
