/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server exchanges, whatever carries them.
 *
 * Theory of operation
 *
 * What: the handler's door. What does not depend on the protocol is done here (ops, gathered
 * headers); the rest goes to the exchange's carrier: http_answer.c on an HTTP/1 connection,
 * http2_stream.c on an HTTP/2 one.
 *
 * Headers that the handler gives are gathered, checked by http_write, in @headers, whose storage is
 * lent by the server and goes back when the head is sent.
 */
#include "net/http_server_int.h"

static const struct http_exchange_ops no_ops = {NULL, NULL, NULL, NULL};

void http_exchange_init(struct http_exchange *x, const struct http_head *head)
{
    struct http_server *s = x->server;

    *x = (struct http_exchange){
        .carrier = x->carrier,
        .server = s,
        .stream = x->stream,
        .ops = &no_ops,
        .headers = s->spare_headers,
        .method = head->method,
        .minor = head->minor,
        .is_live = true,
        .keep_alive = head->keep_alive && !s->is_draining,
        .expects_continue = head->expect_continue,
        .asked_upgrade = head->upgrade,
    };
    adit_buf_init(&s->spare_headers, HTTP_EXCHANGE_HEADERS_CAP);
    s->exchange_cnt++;
}

void http_exchange_fini(struct http_exchange *x)
{
    struct http_server *s = x->server;

    adit_buf_clear(&x->headers);
    if (!s->spare_headers.data)
        s->spare_headers = x->headers;
    else
        adit_buf_fini(&x->headers);
    adit_buf_init(&x->headers, HTTP_EXCHANGE_HEADERS_CAP);
}

void http_exchange_over(struct http_exchange *x)
{
    if (!x->is_live)
        return;
    x->is_live = false;
    x->server->exchange_cnt--;
    if (x->server->conf.on_over)
        x->server->conf.on_over(x);
}

/* ---- for logs ---- */

void http_exchange_set_note(struct http_exchange *x, void *note)
{
    x->note = note;
}

void *http_exchange_note(const struct http_exchange *x)
{
    return x->note;
}

void http_exchange_set_verdict(struct http_exchange *x, const char *verdict)
{
    x->verdict = verdict;
}

struct http_outcome http_exchange_outcome(const struct http_exchange *x)
{
    return (struct http_outcome){x->answer == HTTP_ANSWER_NONE ? 0 : x->status,
                                 x->answer == HTTP_ANSWER_ENDED, x->no_body ? 0 : x->sent_len,
                                 x->verdict};
}

/* ---- the handler's door ---- */

void http_exchange_set_ops(struct http_exchange *x, const struct http_exchange_ops *ops, void *user)
{
    x->ops = ops ? ops : &no_ops;
    x->user = user;
}

void *http_exchange_user(const struct http_exchange *x)
{
    return x->user;
}

struct http_server *http_exchange_server(const struct http_exchange *x)
{
    return x->server;
}

struct net_stream *http_exchange_stream(const struct http_exchange *x)
{
    return x->stream;
}

int http_exchange_header(struct http_exchange *x, struct adit_view name, struct adit_view value)
{
    return http_write_header(&x->headers, name, value);
}

int http_exchange_header_str(struct http_exchange *x, const char *name, const char *value)
{
    return http_write_header_str(&x->headers, name, value);
}

void http_exchange_no_keepalive(struct http_exchange *x)
{
    if (x->answer < HTTP_ANSWER_SENT) /* what the head said holds */
        x->keep_alive = false;
}

/* ---- what the carrier does ---- */

void http_exchange_pause(struct http_exchange *x)
{
    x->carrier->pause(x);
}

void http_exchange_resume(struct http_exchange *x)
{
    x->carrier->resume(x);
}

void http_exchange_begin(struct http_exchange *x, unsigned status, enum http_framing framing,
                         uint64_t length)
{
    x->carrier->begin(x, status, framing, length);
}

int http_exchange_write(struct http_exchange *x, struct adit_view bytes)
{
    int rc = x->carrier->write(x, bytes);
    if (rc == ADIT_OK)
        x->sent_len += bytes.len;
    return rc;
}

bool http_exchange_is_congested(const struct http_exchange *x)
{
    return x->carrier->is_congested(x);
}

bool http_exchange_has_trailers(const struct http_exchange *x)
{
    return x->carrier->trailer != NULL;
}

int http_exchange_trailer(struct http_exchange *x, struct adit_view name, struct adit_view value)
{
    return x->carrier->trailer ? x->carrier->trailer(x, name, value) : ADIT_ERR_UNIMPLEMENTED;
}

void http_exchange_end(struct http_exchange *x)
{
    x->carrier->end(x);
}

void http_exchange_reply(struct http_exchange *x, unsigned status, struct adit_view body)
{
    x->sent_len = body.len;
    x->carrier->reply(x, status, body);
}

void http_exchange_reset(struct http_exchange *x)
{
    x->carrier->reset(x);
}
