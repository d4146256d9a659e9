/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of one HTTP/1 connection on their way out.
 *
 * Theory of operation
 *
 *   FIRST ──a request──> REQUESTS
 *     └──for a WebSocket──> WAITING ──101──> RAW
 *                              └──any other reply──> REQUESTS
 *
 * What: requests are parsed strictly (http_msg), and each head is written anew, so that the other
 * end sees the messages that were judged, however the guest cut or pipelined them. Bodies go
 * through as they are; a chunked one is chunked anew, without trailers.
 *
 * Upgrade: bytes behind a request that asks to leave HTTP are requests or not, depending on the
 * reply. So they wait for it. Replies are not parsed otherwise, therefore only the first request of
 * a connection may ask, as every WebSocket client does; an Upgrade of a later one, or to another
 * protocol (HTTP/2 would hide its hosts), is taken out, which makes it an ordinary request.
 *
 * Ownership: owns its parsers, and a reference of the rules.
 * Limits: those of http_msg.h; EGRESS_INJECT_STEP.
 * Trust: both ends are hostile. A reply that comes before there was a request makes all that follow
 * ordinary requests.
 * Failure: final; the owner resets the connection.
 */
#include "broker/egress/egress_inject.h"

#include <stdlib.h>

#include "broker/egress/egress_peek.h"
#include "net/http_write.h"

enum inject_state { INJECT_FIRST, INJECT_REQUESTS, INJECT_WAITING, INJECT_RAW };

struct egress_inject {
    enum inject_state state;
    struct egress_rules *rules;
    egress_inject_judge_fn judge;
    void *owner; /* borrowed */
    struct http_parser *requests;
    struct http_parser *replies; /* while WAITING */
    struct http_head head;       /* the one that is being read; too large for a stack */
    bool is_chunked;             /* the body that goes through */
};

struct egress_inject *egress_inject_new(struct egress_rules *rules, egress_inject_judge_fn judge,
                                        void *owner)
{
    struct egress_inject *x = calloc(1, sizeof(*x));
    if (!x || !(x->requests = http_parser_new(HTTP_REQUEST))) {
        free(x);
        return NULL;
    }
    x->rules = egress_rules_ref(rules);
    x->judge = judge;
    x->owner = owner;
    return x;
}

void egress_inject_free(struct egress_inject *x)
{
    if (!x)
        return;
    http_parser_free(x->requests);
    http_parser_free(x->replies);
    egress_rules_unref(x->rules);
    free(x);
}

void egress_inject_set_rules(struct egress_inject *x, struct egress_rules *rules)
{
    egress_rules_unref(x->rules);
    x->rules = egress_rules_ref(rules);
}

bool egress_inject_is_waiting(const struct egress_inject *x)
{
    return x->state == INJECT_WAITING;
}

bool egress_inject_is_raw(const struct egress_inject *x)
{
    return x->state == INJECT_RAW;
}

/* ---- a request's head ---- */

static int judge(struct egress_inject *x, const struct egress_rule **rule, struct adit_err *err)
{
    struct adit_view name;
    enum egress_peek_result host = egress_peek_host(&x->head, &name);
    *rule = NULL;
    if (host == EGRESS_PEEK_BROKEN)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "a request for two hosts, or none");
    if (host == EGRESS_PEEK_NAMELESS)
        name = adit_view_mem(NULL, 0);
    enum egress_inject_verdict v = x->judge(x->owner, name);
    if (v == EGRESS_INJECT_REFUSE)
        return adit_err_set(err, ADIT_ERR_DENIED, "a request for a host that is not allowed");
    /* what TRACE sends comes back */
    if (v == EGRESS_INJECT_SET && name.len > 0 && !adit_view_eq_str(x->head.method_text, "TRACE"))
        *rule = egress_rules_find(x->rules, name);
    return ADIT_OK;
}

static bool asks_for_websocket(const struct egress_inject *x)
{
    return x->state == INJECT_FIRST && x->head.upgrade &&
           http_head_count(&x->head, "upgrade") == 1 &&
           adit_view_ieq_str(http_head_get(&x->head, "upgrade"), "websocket");
}

static bool is_kept(const struct http_header *h, const struct egress_rule *rule, bool is_websocket)
{
    if (adit_view_ieq_str(h->name, "upgrade"))
        return is_websocket;
    return !adit_view_ieq_str(h->name, "http2-settings") && !egress_rules_sets(rule, h->name);
}

static int write_head(const struct egress_inject *x, const struct egress_rule *rule,
                      bool is_websocket, struct adit_buf *out)
{
    const struct http_head *h = &x->head;
    /* its own version: a client of 1.0 does not understand the replies of 1.1 */
    int rc = adit_buf_appendf(out, "%.*s %.*s HTTP/1.%u\r\n", ADIT_VIEW_ARG(h->method_text),
                              ADIT_VIEW_ARG(h->target), h->minor);
    for (size_t i = 0; i < h->header_cnt && rc == ADIT_OK; i++)
        if (is_kept(&h->headers[i], rule, is_websocket))
            rc = http_write_header(out, h->headers[i].name, h->headers[i].value);
    for (size_t i = 0; rule && i < rule->header_cnt && rc == ADIT_OK; i++)
        rc = http_write_header(out, rule->headers[i].name, rule->headers[i].value);
    return rc == ADIT_OK ? http_write_end(out) : rc;
}

static int fail_write(int code, struct adit_err *err)
{
    return code == ADIT_OK ? code : adit_err_set(err, code, "request not written");
}

static int take_head(struct egress_inject *x, struct adit_buf *out, struct adit_err *err)
{
    const struct egress_rule *rule;
    int rc = judge(x, &rule, err);
    if (rc != ADIT_OK)
        return rc;
    bool is_websocket = asks_for_websocket(x);
    if (is_websocket && !(x->replies = http_parser_new(HTTP_RESPONSE)))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a reply");
    x->is_chunked = x->head.chunked;
    x->state = is_websocket ? INJECT_WAITING : INJECT_REQUESTS;
    return fail_write(write_head(x, rule, is_websocket, out), err);
}

/* ---- the rest of it ---- */

static int take_body(const struct egress_inject *x, struct adit_view body, struct adit_buf *out)
{
    char line[HTTP_CHUNK_HEAD_CAP];
    if (!x->is_chunked)
        return adit_buf_append_view(out, body);
    int rc = adit_buf_append(out, line, http_write_chunk_head(line, body.len));
    if (rc == ADIT_OK)
        rc = adit_buf_append_view(out, body);
    return rc == ADIT_OK ? adit_buf_append_str(out, "\r\n") : rc;
}

static int take_end(const struct egress_inject *x, struct adit_buf *out)
{
    return x->is_chunked ? adit_buf_append_str(out, "0\r\n\r\n") : ADIT_OK;
}

/* One event of the request parser. */
static int step(struct egress_inject *x, struct adit_view *in, struct adit_buf *out,
                enum http_event *event, struct adit_err *err)
{
    struct adit_view body;
    int rc = http_parser_next(x->requests, in, &x->head, &body, event, err);
    if (rc != ADIT_OK)
        return rc;
    switch (*event) {
    case HTTP_EV_HEAD:
        return take_head(x, out, err);
    case HTTP_EV_BODY:
        return fail_write(take_body(x, body, out), err);
    case HTTP_EV_END:
        return fail_write(take_end(x, out), err);
    case HTTP_EV_MORE:
        break;
    }
    return ADIT_OK;
}

int egress_inject_feed(struct egress_inject *x, struct adit_view *in, struct adit_buf *out,
                       struct adit_err *err)
{
    enum http_event event = HTTP_EV_HEAD;
    int rc = ADIT_OK;
    /* without input there is at most an END to come: room for that is always */
    while (rc == ADIT_OK && x->state != INJECT_WAITING &&
           (in->len > 0 ? out->len < EGRESS_INJECT_STEP : event != HTTP_EV_MORE)) {
        size_t len = in->len < EGRESS_INJECT_STEP ? in->len : EGRESS_INJECT_STEP;
        struct adit_view piece = {in->ptr, len};
        if (x->state == INJECT_RAW) {
            rc = fail_write(adit_buf_append_view(out, piece), err);
            piece.len = 0;
            event = HTTP_EV_MORE;
        } else {
            rc = step(x, &piece, out, &event, err);
        }
        size_t taken = len - piece.len;
        if (taken > 0) /* an empty view may have no place */
            *in = adit_view_mem(in->ptr + taken, in->len - taken);
    }
    return rc;
}

/* ---- the reply to the first request ---- */

static void stop_waiting(struct egress_inject *x, enum inject_state state)
{
    http_parser_free(x->replies);
    x->replies = NULL;
    x->state = state;
}

void egress_inject_see_reply(struct egress_inject *x, struct adit_view bytes)
{
    struct adit_view body;
    enum http_event event = HTTP_EV_HEAD;
    if (x->state == INJECT_FIRST)
        x->state = INJECT_REQUESTS;
    while (x->state == INJECT_WAITING && event != HTTP_EV_MORE) {
        if (http_parser_next(x->replies, &bytes, &x->head, &body, &event, NULL) != ADIT_OK)
            stop_waiting(x, INJECT_REQUESTS);
        else if (event == HTTP_EV_HEAD && x->head.status == 101)
            stop_waiting(x, INJECT_RAW);
        else if (event == HTTP_EV_HEAD && x->head.status >= 200)
            stop_waiting(x, INJECT_REQUESTS);
    }
}
