/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer's side of an HTTP/2 stream.
 *
 * Theory of operation
 *
 * What: the carrier of exchanges on an HTTP/2 stream. Headers are gathered as lines, like those of
 * HTTP/1, and become fields when the answer begins: names in lower case, the fields of one
 * connection left out. Trailers are gathered in the same buffer behind that.
 *
 *   NONE ──begin──> SENT (nghttp2 has the head) ──end──> ENDED
 *
 * nghttp2 asks for body bytes when a window is open (on_more) and has them sent without copying
 * (http2_answer_send_data): @out first, then @direct, the bytes of the write that runs; what is
 * left of those is copied to @out. Large writes leave at once, small ones at the next turn,
 * together with what other streams have.
 *
 * Back-pressure: http2_server.h. A stream that is congested owes on_drain, at a turn.
 *
 * Failure: an answer that breaks its own promise (more or fewer bytes than announced, a begin too
 * many) resets the stream.
 */
#include "net/http2_server_int.h"

#include <stdio.h>

/* What a peer's head may hold, and what we add. */
#define FIELDS_CAP (HTTP_HEADERS_MAX + 32u)

/* ---- fields ---- */

static nghttp2_nv field(struct adit_view name, struct adit_view value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE}; /* nghttp2 copies and does not write */
}

static bool is_left_out(struct adit_view name, bool is_tunnel)
{
    return adit_view_eq_str(name, "connection") || adit_view_eq_str(name, "keep-alive") ||
           adit_view_eq_str(name, "proxy-connection") || adit_view_eq_str(name, "upgrade") ||
           adit_view_eq_str(name, "transfer-encoding") ||
           (is_tunnel && adit_view_eq_str(name, "sec-websocket-accept"));
}

static void lower(struct adit_buf *b, struct adit_view name)
{
    char *p = b->data + b->off + (name.ptr - adit_buf_view(b).ptr);

    for (size_t i = 0; i < name.len; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] | 0x20);
}

/* Append the fields of "Name: value\r\n" lines. Return: false when there are too many. */
static bool take_lines(struct adit_buf *lines, bool is_tunnel, nghttp2_nv *nv, size_t *cnt)
{
    struct adit_view rest = adit_buf_view(lines), line, name, value;

    while (adit_view_split(rest, '\n', &line, &rest)) {
        if (!adit_view_split(line, ':', &name, &value))
            continue;
        lower(lines, name);
        if (is_left_out(name, is_tunnel))
            continue;
        if (*cnt == FIELDS_CAP)
            return false;
        value.len--; /* CR */
        nv[(*cnt)++] = field(name, adit_view_trim(value));
    }
    return true;
}

/* ---- sending ---- */

static int break_promise(struct http2_stream *st)
{
    http2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    return ADIT_ERR_CLOSED;
}

static bool has_data(const struct http_exchange *x)
{
    return !x->no_body && !(x->framing == HTTP_FRAMING_LENGTH && x->left == 0);
}

/* No bytes are left, and none will come: END_STREAM, or trailers that carry it. */
static int end_data(struct http2_stream *st, uint32_t *flags)
{
    struct adit_buf *lines = &st->exchange.headers;
    nghttp2_nv nv[FIELDS_CAP];
    size_t cnt = 0;

    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (lines->len == 0)
        return 0;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (!take_lines(lines, false, nv, &cnt) ||
        nghttp2_submit_trailer(st->conn->session, st->id, nv, cnt) != 0)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    http_exchange_fini(&st->exchange);
    return 0;
}

static ssize_t on_more(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct http2_stream *st = source->ptr;
    size_t here = st->out.len + st->direct.len, len = here < cap ? here : cap;
    int rc = 0;

    (void)session;
    (void)id;
    (void)buf;
    (void)user;
    if (len == here && st->is_complete)
        rc = end_data(st, flags);
    else if (len == 0) {
        st->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (len > 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return rc != 0 ? rc : (ssize_t)len;
}

static void resume(struct http2_stream *st)
{
    if (!st->is_deferred || !st->is_open)
        return;
    st->is_deferred = false;
    if (nghttp2_session_resume_data(st->conn->session, st->id) != 0)
        http2_server_break(st->conn);
}

static void submit(struct http2_stream *st)
{
    struct http2_conn *c = st->conn;
    struct http_exchange *x = &st->exchange;
    bool is_tunnel = x->framing == HTTP_FRAMING_RAW;
    nghttp2_nv nv[FIELDS_CAP];
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = on_more};
    char status[16], length[24];
    size_t cnt = 0;

    if (x->status == 204 || x->status == 304)
        x->framing = HTTP_FRAMING_NONE;
    x->no_body = x->framing == HTTP_FRAMING_NONE || x->method == HTTP_HEAD;
    (void)snprintf(status, sizeof(status), "%03u", is_tunnel ? 200 : x->status); /* fits */
    (void)snprintf(length, sizeof(length), "%llu", (unsigned long long)x->left); /* fits */
    nv[cnt++] = field((struct adit_view)ADIT_VIEW(":status"), adit_view_str(status));
    nv[cnt++] =
        field((struct adit_view)ADIT_VIEW("date"), adit_view_str(http_server_date(c->server)));
    if (x->framing == HTTP_FRAMING_LENGTH)
        nv[cnt++] = field((struct adit_view)ADIT_VIEW("content-length"), adit_view_str(length));
    x->answer = HTTP_ANSWER_SENT;
    st->is_complete = !has_data(x);
    if (!take_lines(&x->headers, is_tunnel, nv, &cnt) ||
        nghttp2_submit_response(c->session, st->id, nv, cnt, has_data(x) ? &provider : NULL) != 0)
        (void)break_promise(st); /* told when the stream closes */
    http_exchange_fini(x);
    net_task_post(&c->turn);
}

void http2_answer_continue(struct http2_stream *st)
{
    nghttp2_nv nv = field((struct adit_view)ADIT_VIEW(":status"), adit_view_str("100"));

    st->exchange.expects_continue = false;
    if (nghttp2_submit_headers(st->conn->session, 0, st->id, NULL, &nv, 1, NULL) != 0)
        http2_server_break(st->conn);
    net_task_post(&st->conn->turn);
}

/* ---- body bytes ---- */

static void note_congestion(struct http2_stream *st)
{
    struct http2_conn *c = st->conn;

    if (st->out.len > HTTP2_STREAM_HIGH ||
        (c->queued > HTTP2_QUEUED_HIGH && st->out.len > HTTP2_STREAM_LOW))
        st->is_congested = true;
}

static void drop_sent(struct http2_stream *st, size_t len)
{
    size_t from_out = len < st->out.len ? len : st->out.len;

    adit_buf_consume(&st->out, from_out);
    st->conn->queued -= from_out;
    if (len > from_out)
        st->direct =
            adit_view_mem(st->direct.ptr + (len - from_out), st->direct.len - (len - from_out));
    if (st->is_congested && st->out.len <= HTTP2_STREAM_LOW) {
        st->is_congested = false;
        st->owes_drain = true;
        http2_stream_wake(st);
    }
    http2_stream_update(st); /* the client takes something: more time */
}

int http2_answer_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                           size_t len, nghttp2_data_source *source, void *user)
{
    struct http2_conn *c = user;
    struct http2_stream *st = source->ptr;
    size_t from_out = len < st->out.len ? len : st->out.len;
    struct adit_view views[] = {adit_buf_view(&c->out), adit_view_mem(head, 9),
                                adit_view_mem(adit_buf_view(&st->out).ptr, from_out),
                                adit_view_mem(st->direct.ptr, len - from_out)};
    int rc = ADIT_OK;

    (void)session;
    (void)frame;
    if (net_stream_is_congested(c->stream))
        return NGHTTP2_ERR_WOULDBLOCK;
    if (len > HTTP2_SMALL_DATA) {
        rc = net_stream_write(c->stream, views, 4);
        adit_buf_consume(&c->out, c->out.len);
    }
    for (size_t i = 1; len <= HTTP2_SMALL_DATA && i < 4 && rc == ADIT_OK; i++)
        rc = adit_buf_append_view(&c->out, views[i]);
    drop_sent(st, len);
    return rc == ADIT_OK ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int queue(struct http2_stream *st, struct adit_view bytes)
{
    int rc = adit_buf_append_view(&st->out, bytes);

    if (rc != ADIT_OK) {
        http2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
        return rc;
    }
    st->conn->queued += bytes.len;
    note_congestion(st);
    return ADIT_OK;
}

/* Large bytes go to the socket from where they lie, as far as it takes them. */
static int send_body(struct http2_stream *st, struct adit_view bytes)
{
    struct http2_conn *c = st->conn;
    bool at_once = c->busy == 0 && bytes.len > HTTP2_SMALL_DATA;
    int rc;

    if (!at_once) {
        rc = queue(st, bytes);
        resume(st);
        net_task_post(&c->turn);
        return rc;
    }
    http2_server_enter(c);
    st->direct = bytes;
    resume(st);
    http2_server_pump(c);
    bytes = st->direct;
    st->direct = adit_view_mem(NULL, 0);
    rc = bytes.len > 0 && st->is_open ? queue(st, bytes) : ADIT_OK;
    http2_server_leave(c);
    return rc;
}

/* ---- the carrier ---- */

static void answer_pause(struct http_exchange *x)
{
    x->is_paused = true;
    http2_stream_update(http2_stream_of(x));
}

static void answer_resume(struct http_exchange *x)
{
    if (!x->is_paused)
        return;
    x->is_paused = false;
    http2_stream_wake(http2_stream_of(x));
}

static void answer_begin(struct http_exchange *x, unsigned status, enum http_framing framing,
                         uint64_t length)
{
    struct http2_stream *st = http2_stream_of(x);

    if (x->answer != HTTP_ANSWER_NONE || (framing == HTTP_FRAMING_RAW && !x->asked_upgrade)) {
        (void)break_promise(st); /* told when the stream closes */
        return;
    }
    x->expects_continue = false;
    x->status = status;
    x->framing = framing;
    x->left = length;
    submit(st);
    if (framing == HTTP_FRAMING_RAW) {
        x->is_paused = false;
        http2_stream_wake(st);
    }
    http2_stream_update(st);
}

static int answer_write(struct http_exchange *x, struct adit_view bytes)
{
    struct http2_stream *st = http2_stream_of(x);

    if (!st->is_open || st->conn->is_broken || x->answer != HTTP_ANSWER_SENT)
        return ADIT_ERR_CLOSED;
    if (bytes.len == 0)
        return ADIT_OK;
    if (x->framing == HTTP_FRAMING_LENGTH && bytes.len > x->left)
        return break_promise(st);
    if (x->no_body)
        return ADIT_OK;
    if (x->framing == HTTP_FRAMING_LENGTH) {
        x->left -= bytes.len;
        st->is_complete = x->left == 0;
    }
    return send_body(st, bytes);
}

static bool answer_is_congested(const struct http_exchange *x)
{
    return http2_stream_of(x)->is_congested;
}

static int answer_trailer(struct http_exchange *x, struct adit_view name, struct adit_view value)
{
    if (x->answer != HTTP_ANSWER_SENT || x->framing != HTTP_FRAMING_CHUNKED)
        return ADIT_ERR_BUG;
    return http_write_header(&x->headers, name, value);
}

static void answer_reset(struct http_exchange *x)
{
    struct http2_stream *st = http2_stream_of(x);

    http2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    http2_stream_over(st);
}

static void end_raw(struct http2_stream *st)
{
    st->exchange.answer = HTTP_ANSWER_ENDED;
    st->is_complete = true;
    resume(st);
    if (st->end_told)
        http2_stream_over(st);
    else
        http2_stream_update(st);
}

static void answer_end(struct http_exchange *x)
{
    struct http2_stream *st = http2_stream_of(x);

    net_task_post(&st->conn->turn);
    if (x->framing == HTTP_FRAMING_RAW && x->answer != HTTP_ANSWER_NONE) {
        end_raw(st);
        return;
    }
    if (x->answer == HTTP_ANSWER_NONE ||
        (x->framing == HTTP_FRAMING_LENGTH && x->left && !x->no_body)) {
        answer_reset(x);
        return;
    }
    x->answer = HTTP_ANSWER_ENDED;
    st->is_complete = true;
    resume(st);
    http2_stream_over(st);
}

static void send_whole(struct http2_stream *st, unsigned status, struct adit_view body)
{
    struct http_exchange *x = &st->exchange;

    x->status = status;
    x->framing = HTTP_FRAMING_LENGTH;
    x->left = body.len;
    submit(st);
    x->left = 0;
    st->is_complete = true;
    if (st->is_open && !x->no_body && body.len > 0)
        (void)queue(st, body); /* a failure resets the stream */
    x->answer = HTTP_ANSWER_ENDED;
}

static void answer_reply(struct http_exchange *x, unsigned status, struct adit_view body)
{
    struct http2_stream *st = http2_stream_of(x);

    if (x->answer != HTTP_ANSWER_NONE) {
        answer_reset(x);
        return;
    }
    send_whole(st, status, body);
    http2_stream_over(st);
}

const struct http_carrier http2_answer_carrier = {
    .pause = answer_pause,
    .resume = answer_resume,
    .begin = answer_begin,
    .write = answer_write,
    .is_congested = answer_is_congested,
    .trailer = answer_trailer,
    .end = answer_end,
    .reply = answer_reply,
    .reset = answer_reset,
};

/* ---- answers of the server itself ---- */

void http2_answer_refuse(struct http2_stream *st, unsigned status, const char *message)
{
    struct adit_buf headers, body;

    http_server_compose_refusal(st->conn->server, status, message, &headers, &body);
    if (adit_buf_append_view(&st->exchange.headers, adit_buf_view(&headers)) == ADIT_OK)
        send_whole(st, status, adit_buf_view(&body));
    else
        http2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
    http2_stream_update(st);
    adit_buf_fini(&headers);
    adit_buf_fini(&body);
}
