/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 messages: heads by http_guard, llhttp and the header rules; bodies by length, chunks or
 * close.
 *
 * Theory of operation
 *
 * What:      the theory that callers need is in the header. Here: who does what. http_guard finds
 * the end of a head and refuses odd spellings. llhttp splits it. http_head_check() decides what it
 *            means. A body of known length, or one that the close ends, is only counted. Chunks are
 *            read by the same llhttp, which stops at the last chunk: trailers go through
 * http_guard. States: ┌──────────────────────────────────────────────┐ v │ keep-alive HEAD ──┬─>
 * LENGTH ──────────────────┬─> END ─────┤ ├─> CHUNKED ──> TRAILERS ────┤            v ├─> UNTIL_EOF
 * ── close ──────┤          CLOSED (input is dropped) └─> (no body) ───────────────┘ FAILED from
 * any of them; it stays. Ownership: @pending holds an incomplete head or trailer section; its
 * storage goes back when that is done with, at the next call. A head that came whole is parsed in
 * the caller's bytes. Limits:    those of http_guard; HTTP_CHUNK_OVERHEAD_CAP for chunk framing
 * beyond 16 bytes a chunk; HTTP_CONNECTION_CAP. Trust:     all input is hostile, replies of guests
 * no less than requests. Failure:   the first error is kept and repeated;
 * http_parser_error_status() names the answer to it.
 */
#include "net/http_msg.h"

#include "net/http_guard.h"
#include "net/http_head_int.h"
#include "net/llhttp_int.h"

#include <stdlib.h>

/* Framing that a chunk may have for nothing: the size, CRLF twice, and some zeros. */
#define CHUNK_OVERHEAD_FREE 16

enum state {
    STATE_HEAD,
    STATE_LENGTH,
    STATE_CHUNKED,
    STATE_TRAILERS,
    STATE_UNTIL_EOF,
    STATE_END,
    STATE_CLOSED,
    STATE_FAILED,
};

/*
 * @head, @body:       where llhttp's callbacks put what they see, during one call
 * @remaining:         of a body of known length
 * @chunk_framing:     bytes of framing since the last body byte
 * @chunk_excess:      of all chunks before that, what was beyond CHUNK_OVERHEAD_FREE
 * @pending_is_spent:  the last event's views pointed into @pending; it is emptied at the next call
 * @is_last_chunk:     the chunk of size 0 was seen
 * @error, @status:    in STATE_FAILED
 */
struct http_parser {
    enum http_kind kind;
    enum http_method request_method;
    enum state state;
    bool keep_alive, pending_is_spent, is_last_chunk;
    int error;
    unsigned status;
    struct http_guard guard;
    llhttp_t llhttp;
    struct http_head *head;
    struct adit_view body;
    uint64_t remaining, chunk_framing, chunk_excess;
    struct adit_buf pending;
};

static int bad(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

/* ---- llhttp's callbacks ---- */

static int on_method(llhttp_t *ll, const char *at, size_t len)
{
    struct http_parser *p = ll->data;
    p->head->method_text = adit_view_mem(at, len);
    return 0;
}

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
    struct http_parser *p = ll->data;
    p->head->target = adit_view_mem(at, len);
    return 0;
}

/* http_guard counted the fields; the bound is kept here, too, because this is where it would hurt.
 */
static int on_header_field(llhttp_t *ll, const char *at, size_t len)
{
    struct http_parser *p = ll->data;
    if (p->head->header_cnt == HTTP_HEADERS_MAX)
        return -1;
    struct http_header *x = &p->head->headers[p->head->header_cnt++];
    x->name = adit_view_mem(at, len);
    x->value = adit_view_mem(at + len, 0);
    return 0;
}

static int on_header_value(llhttp_t *ll, const char *at, size_t len)
{
    struct http_parser *p = ll->data;
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--; /* llhttp skips those in front */
    p->head->headers[p->head->header_cnt - 1].value = adit_view_mem(at, len);
    return 0;
}

static int on_headers_complete(llhttp_t *ll)
{
    (void)ll; /* a stop, so that the rules are applied before a body is looked at */
    return HPE_PAUSED;
}

static int on_body(llhttp_t *ll, const char *at, size_t len)
{
    struct http_parser *p = ll->data;
    p->body = adit_view_mem(at, len);
    return len > 0 ? HPE_PAUSED : 0;
}

static int on_chunk_header(llhttp_t *ll)
{
    struct http_parser *p = ll->data;
    p->is_last_chunk = ll->content_length == 0;
    return p->is_last_chunk ? HPE_PAUSED : 0;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
};

/* ---- the parser ---- */

struct http_parser *http_parser_new(enum http_kind kind)
{
    struct http_parser *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->kind = kind;
    p->request_method = HTTP_GET;
    adit_buf_init(&p->pending, HTTP_HEAD_CAP);
    return p;
}

void http_parser_free(struct http_parser *p)
{
    if (!p)
        return;
    adit_buf_fini(&p->pending);
    free(p);
}

void http_parser_reset(struct http_parser *p)
{
    adit_buf_consume(&p->pending, p->pending.len);
    http_guard_init(&p->guard);
    p->state = STATE_HEAD;
    p->pending_is_spent = false;
}

void http_parser_set_request_method(struct http_parser *p, enum http_method method)
{
    p->request_method = method;
}

bool http_parser_is_idle(const struct http_parser *p)
{
    return p->state == STATE_HEAD && (p->pending.len == 0 || p->pending_is_spent);
}

unsigned http_parser_error_status(const struct http_parser *p)
{
    return p->status;
}

static unsigned status_of(const struct http_parser *p, int error, bool in_head)
{
    switch (error) {
    case ADIT_ERR_BAD_INPUT:
        return 400;
    case ADIT_ERR_LIMIT:
        return in_head ? 431 : 400;
    case ADIT_ERR_UNIMPLEMENTED:
        return p->guard.line_start == 0 ? 505 : 501; /* in the start line it is the version */
    case ADIT_ERR_NO_MEMORY:
        return 503;
    default:
        return 500;
    }
}

static int fail(struct http_parser *p, int error)
{
    p->status = status_of(p, error, p->state == STATE_HEAD);
    p->error = error;
    p->state = STATE_FAILED;
    return error;
}

static void consume(struct adit_view *v, size_t n)
{
    v->ptr += n;
    v->len -= n;
}

/*
 * Find a whole head (or trailer section) in @in, or in what is pending and @in. *lines is empty
 * when more is needed.
 */
static int gather(struct http_parser *p, struct adit_view *in, struct adit_view *lines,
                  struct adit_err *err)
{
    size_t before = p->pending.len, len;
    *lines = *in;
    if (before > 0) {
        size_t room = HTTP_HEAD_CAP - before;
        if (adit_buf_append(&p->pending, in->ptr, in->len < room ? in->len : room) != ADIT_OK)
            return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a head");
        *lines = adit_buf_view(&p->pending);
    }
    int rc = http_guard_feed(&p->guard, p->kind, *lines, &len, err);
    if (rc != ADIT_OK)
        return rc;
    if (len > 0) {
        lines->len = len;
        consume(in, len - before);
        p->pending_is_spent = before > 0;
        return ADIT_OK;
    }
    if (before == 0 && adit_buf_append(&p->pending, in->ptr, in->len) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a head");
    consume(in, in->len);
    lines->len = 0;
    return ADIT_OK;
}

static enum http_method method_of(const llhttp_t *ll)
{
    switch (ll->method) {
    case LLHTTP_GET:
        return HTTP_GET;
    case LLHTTP_HEAD:
        return HTTP_HEAD;
    case LLHTTP_POST:
        return HTTP_POST;
    case LLHTTP_PUT:
        return HTTP_PUT;
    case LLHTTP_PATCH:
        return HTTP_PATCH;
    case LLHTTP_DELETE:
        return HTTP_DELETE;
    case LLHTTP_OPTIONS:
        return HTTP_OPTIONS;
    default:
        return HTTP_OTHER;
    }
}

/* Set the members; the 4 KiB of headers are left alone. */
static void init_head(struct http_head *h, enum http_kind kind)
{
    h->kind = kind;
    h->method = HTTP_OTHER;
    h->method_text = h->target = adit_view_mem(NULL, 0);
    h->status = h->minor = 0;
    h->header_cnt = 0;
    h->content_length = 0;
    h->has_content_length = h->chunked = h->keep_alive = h->upgrade = false;
    h->expect_continue = h->has_named_hops = false;
}

static int split_head(struct http_parser *p, struct adit_view lines, struct http_head *head,
                      struct adit_err *err)
{
    init_head(head, p->kind);
    p->head = head;
    llhttp_init(&p->llhttp, p->kind == HTTP_REQUEST ? LLHTTP_REQUEST : LLHTTP_RESPONSE, &settings);
    p->llhttp.data = p;
    llhttp_errno_t rc = llhttp_execute(&p->llhttp, lines.ptr, lines.len);
    p->head = NULL;
    if (rc != HPE_PAUSED)
        return bad(err, rc == HPE_OK ? "malformed head" : llhttp_get_error_reason(&p->llhttp));
    head->minor = p->llhttp.http_minor;
    head->status = p->llhttp.status_code;
    if (p->kind == HTTP_RESPONSE)
        return ADIT_OK;
    if (p->llhttp.method == LLHTTP_CONNECT)
        return bad(err, "CONNECT is not served");
    head->method = method_of(&p->llhttp);
    return ADIT_OK;
}

static enum state body_state(const struct http_parser *p, const struct http_head *head)
{
    if (!http_head_has_body(head, p->request_method))
        return STATE_END;
    if (head->chunked)
        return STATE_CHUNKED;
    return head->has_content_length ? STATE_LENGTH : STATE_UNTIL_EOF;
}

/* An interim reply ends nothing, whatever it says; behind a 101 nothing is HTTP. */
static bool keeps_connection(const struct http_head *head)
{
    if (head->kind == HTTP_RESPONSE && head->status < 200)
        return head->status != 101;
    return head->keep_alive;
}

static int next_head(struct http_parser *p, struct adit_view *in, struct http_head *head,
                     enum http_event *event, struct adit_err *err)
{
    struct adit_view lines;
    int rc = gather(p, in, &lines, err);
    if (rc != ADIT_OK || lines.len == 0)
        return rc;
    rc = split_head(p, lines, head, err);
    if (rc != ADIT_OK)
        return rc;
    rc = http_head_check(head, err);
    if (rc != ADIT_OK)
        return rc;
    p->state = body_state(p, head);
    if (p->state == STATE_UNTIL_EOF)
        head->keep_alive = false;
    p->keep_alive = keeps_connection(head);
    p->remaining = head->content_length;
    p->chunk_framing = p->chunk_excess = 0;
    p->is_last_chunk = false;
    *event = HTTP_EV_HEAD;
    return ADIT_OK;
}

static void next_counted(struct http_parser *p, struct adit_view *in, struct adit_view *body,
                         enum http_event *event)
{
    bool is_bounded = p->state == STATE_LENGTH;
    size_t n = is_bounded && p->remaining < in->len ? (size_t)p->remaining : in->len;
    *body = adit_view_mem(in->ptr, n);
    consume(in, n);
    *event = HTTP_EV_BODY;
    if (!is_bounded)
        return;
    p->remaining -= n;
    if (p->remaining == 0)
        p->state = STATE_END;
}

static uint64_t beyond_free(uint64_t framing)
{
    return framing > CHUNK_OVERHEAD_FREE ? framing - CHUNK_OVERHEAD_FREE : 0;
}

/* One call of llhttp covers at most the framing between two chunks and then a piece of body. */
static int next_chunked(struct http_parser *p, struct adit_view *in, struct adit_view *body,
                        enum http_event *event, struct adit_err *err)
{
    p->body = adit_view_mem(NULL, 0);
    llhttp_resume(&p->llhttp);
    llhttp_errno_t rc = llhttp_execute(&p->llhttp, in->ptr, in->len);
    size_t used = in->len;
    if (rc != HPE_OK)
        used = (size_t)(llhttp_get_error_pos(&p->llhttp) - in->ptr);
    consume(in, used);
    p->chunk_framing += used - p->body.len;
    if (p->chunk_excess + beyond_free(p->chunk_framing) > HTTP_CHUNK_OVERHEAD_CAP)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %u bytes of chunk framing",
                            HTTP_CHUNK_OVERHEAD_CAP);
    if (rc != HPE_OK && rc != HPE_PAUSED)
        return bad(err, llhttp_get_error_reason(&p->llhttp));
    if (p->body.len > 0) {
        p->chunk_excess += beyond_free(p->chunk_framing);
        p->chunk_framing = 0;
        *body = p->body;
        *event = HTTP_EV_BODY;
    } else if (p->is_last_chunk) {
        p->state = STATE_TRAILERS;
        http_guard_init_fields(&p->guard);
    }
    return ADIT_OK;
}

/* Nothing in a trailer may speak of framing or routing; what it holds is dropped. */
static int check_trailers(struct adit_view lines, struct adit_err *err)
{
    struct adit_view line, name, value;
    while (adit_view_split(lines, '\n', &line, &lines)) {
        adit_view_split(line, ':', &name, &value);
        if (adit_view_ieq_str(name, "content-length") ||
            adit_view_ieq_str(name, "transfer-encoding") || adit_view_ieq_str(name, "host"))
            return bad(err, "forbidden trailer");
    }
    return ADIT_OK;
}

static int next_trailers(struct http_parser *p, struct adit_view *in, struct adit_err *err)
{
    struct adit_view lines;
    int rc = gather(p, in, &lines, err);
    if (rc != ADIT_OK || lines.len == 0)
        return rc;
    rc = check_trailers(lines, err);
    if (rc == ADIT_OK)
        p->state = STATE_END;
    return rc;
}

static void next_end(struct http_parser *p, enum http_event *event)
{
    *event = HTTP_EV_END;
    p->state = p->keep_alive ? STATE_HEAD : STATE_CLOSED;
    http_guard_init(&p->guard);
}

/* One step: at most one event, or a change of state, or all input used. */
static int step(struct http_parser *p, struct adit_view *in, struct http_head *head,
                struct adit_view *body, enum http_event *event, struct adit_err *err)
{
    switch (p->state) {
    case STATE_HEAD:
        return next_head(p, in, head, event, err);
    case STATE_LENGTH:
    case STATE_UNTIL_EOF:
        next_counted(p, in, body, event);
        return ADIT_OK;
    case STATE_CHUNKED:
        return next_chunked(p, in, body, event, err);
    case STATE_TRAILERS:
        return next_trailers(p, in, err);
    case STATE_END:
        next_end(p, event);
        return ADIT_OK;
    case STATE_CLOSED:
        consume(in, in->len);
        return ADIT_OK;
    case STATE_FAILED:
        break;
    }
    return ADIT_ERR_BUG; /* http_parser_next does not come here in STATE_FAILED */
}

int http_parser_next(struct http_parser *p, struct adit_view *in, struct http_head *head,
                     struct adit_view *body, enum http_event *event, struct adit_err *err)
{
    if (p->pending_is_spent) {
        adit_buf_consume(&p->pending, p->pending.len);
        p->pending_is_spent = false;
    }
    *event = HTTP_EV_MORE;
    if (p->state == STATE_FAILED)
        return adit_err_set(err, p->error, "the message before was refused");
    while (*event == HTTP_EV_MORE && (in->len > 0 || p->state == STATE_END)) {
        int rc = step(p, in, head, body, event, err);
        if (rc != ADIT_OK)
            return fail(p, rc);
    }
    return ADIT_OK;
}

int http_parser_eof(struct http_parser *p, enum http_event *event, struct adit_err *err)
{
    *event = HTTP_EV_MORE;
    if (p->state == STATE_UNTIL_EOF || p->state == STATE_END) {
        next_end(p, event);
        return ADIT_OK;
    }
    if (p->state == STATE_CLOSED || http_parser_is_idle(p))
        return ADIT_OK;
    return adit_err_set(err, ADIT_ERR_CLOSED, "connection closed in the middle of a message");
}
