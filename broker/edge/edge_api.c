/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for the control API: from a relay loop to the control loop as one message, and back.
 *
 * Theory of operation
 *
 * States of a request:
 *
 *   gathering (loop) → asked (control) → answered (loop) → freed
 *                                      → handed over (edge_transfer.c)
 *
 * The relay loop copies the head and gathers the body (at most EDGE_API_BODY_MAX), then posts the
 * request to the control loop, which owns it until edge_api_reply() posts it back. Only the relay
 * loop touches @x. A client that leaves while its request is asked sets @x to NULL; the answer is
 * then dropped, but what was asked is done all the same. Only the session API hears of it: an
 * execution for nobody is interrupted.
 *
 * An upload of a session is asked for by its head alone: its body waits with the client until it is
 * known where it goes.
 *
 * Preflights are answered here: they carry no credentials and ask nothing.
 */
#include "broker/edge/edge_api_int.h"

#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "net/url.h"

/* On the relay loop, or when that has ended. */
void edge_api_free(struct edge_api_request *r)
{
    if (r->held > 0) /* else this may be the control loop */
        r->loop->api_bytes -= r->held;
    adit_buf_fini(&r->text);
    adit_buf_fini(&r->body);
    adit_buf_fini(&r->answer_body);
    for (size_t i = 0; i < r->answer_header_cnt; i++)
        free(r->answer_headers[i].value);
    free(r);
}

/* ---- answering, on the relay loop ---- */

void edge_api_set_cors(struct http_exchange *x)
{
    int rc = http_exchange_header_str(x, "Access-Control-Allow-Origin", "*");

    if (rc == 0)
        rc = http_exchange_header_str(x, "Access-Control-Expose-Headers",
                                      "X-Next-Token, X-Total-Running, RateLimit-Limit, "
                                      "RateLimit-Remaining, RateLimit-Reset, Retry-After, "
                                      "Content-Disposition");
    (void)rc; /* without memory for them the answer is still the right one */
}

/* @id: of the request. */
static void answer(struct http_exchange *x, const char *id, bool cors, unsigned status,
                   struct adit_view body)
{
    edge_request_id_show(x, id);
    if (cors)
        edge_api_set_cors(x);
    if (body.len > 0 &&
        http_exchange_header_str(x, "Content-Type", "application/json; charset=utf-8") != 0) {
        http_exchange_reset(x);
        return;
    }
    http_exchange_reply(x, status, body);
}

/* What an answer before a request is there, or after it is gone, needs to know. */
struct asker {
    const char *id; /* of the request */
    bool has_origin, is_session;
};

static void answer_error(struct http_exchange *x, const struct asker *a, unsigned status,
                         const char *message)
{
    char body[256];

    if (a->is_session)
        snprintf(body, sizeof(body), "{\"detail\":\"%s\"}", message);
    else
        snprintf(body, sizeof(body), "{\"code\":%u,\"message\":\"%s\"}", status, message);
    answer(x, a->id, a->has_origin, status, adit_view_str(body));
}

static void deliver_answer(struct edge_mail *m, void *receiver)
{
    struct edge_api_request *r = ADIT_CONTAINER_OF(m, struct edge_api_request, mail);

    (void)receiver;
    edge_stats_count(&r->loop->stats, EDGE_STATS_API, r->x ? r->answer_status : 0,
                     uv_hrtime() - r->began_ns);
    if (r->x != NULL) {
        for (size_t i = 0; i < r->answer_header_cnt; i++)
            if (http_exchange_header_str(r->x, r->answer_headers[i].name,
                                         r->answer_headers[i].value) != 0)
                adit_log(ADIT_LOG_WARN, "api_header_lost", LOG_S("request_id", r->id),
                         LOG_S("header", r->answer_headers[i].name));
        answer(r->x, r->id, r->has_origin, r->answer_status, adit_buf_view(&r->answer_body));
    }
    edge_api_free(r);
}

/* ---- asking ---- */

#define SESSIONS "/api/v1/session/"
#define UPLOAD "/sandbox/upload"

bool edge_api_is_session(struct adit_view path)
{
    return adit_view_has_prefix(path, SESSIONS);
}

static bool is_upload(const struct edge_api_request *r)
{
    const size_t len = strlen(UPLOAD);

    return r->method == HTTP_POST && edge_api_is_session(r->path) && r->path.len > len &&
           memcmp(r->path.ptr + r->path.len - len, UPLOAD, len) == 0;
}

static void deliver_request(struct edge_mail *m, void *receiver)
{
    struct edge_api_request *r = ADIT_CONTAINER_OF(m, struct edge_api_request, mail);
    struct edge *e = receiver;

    e->api_cnt++;
    e->conf.on_api(e->conf.owner, r);
}

/* Anybody may send requests, with a key or without, and HTTP/2 makes long heads of few bytes: what
 * all of them hold is bounded. Small ones always pass. */
static int hold(struct edge_api_request *r, size_t len)
{
    struct edge_loop *l = r->loop;

    if (r->held + len > EDGE_API_SMALL && l->api_bytes + len > EDGE_API_HELD_MAX)
        return ADIT_ERR_NO_MEMORY;
    r->held += len;
    l->api_bytes += len;
    return 0;
}

static int gather(struct edge_api_request *r, struct adit_view bytes)
{
    if (r->body.len + bytes.len > EDGE_API_BODY_MAX)
        return ADIT_ERR_LIMIT;
    int rc = hold(r, bytes.len);
    return rc ? rc : adit_buf_append_view(&r->body, bytes);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    struct edge_api_request *r = http_exchange_user(x);
    int rc = gather(r, bytes);

    if (rc == 0)
        return;
    char id[EDGE_REQUEST_ID_CAP];
    memcpy(id, r->id, sizeof(id));
    struct asker asker = {id, r->has_origin, edge_api_is_session(r->path)};
    unsigned status = rc == ADIT_ERR_LIMIT ? 413 : 503;
    edge_stats_count(&r->loop->stats, EDGE_STATS_API, status, uv_hrtime() - r->began_ns);
    edge_api_free(r);
    answer_error(x, &asker, status,
                 status == 413 ? "The request body is larger than 1 MiB" : "Out of memory");
}

static void ask(struct edge_api_request *r)
{
    r->is_asked = true;
    r->mail.deliver = deliver_request;
    (void)edge_mailbox_post(&r->loop->edge->inbox, &r->mail); /* open until every loop has ended */
}

static void on_end(struct http_exchange *x)
{
    ask(http_exchange_user(x));
}

/* @r: a name, not to be followed: it may be gone when this arrives. No other request has that name
 * then, as one can only be asked after its memory was given back, which is after this was sent. */
struct gone_mail {
    struct edge_mail mail;
    const struct edge_api_request *r;
};

static void deliver_gone(struct edge_mail *m, void *receiver)
{
    struct gone_mail *gone = ADIT_CONTAINER_OF(m, struct gone_mail, mail);
    struct edge *e = receiver;

    e->conf.on_api_gone(e->conf.owner, gone->r);
    free(gone);
}

/* Without memory for it nobody hears, and what was asked goes on. */
static void tell_gone(const struct edge_api_request *r)
{
    struct gone_mail *gone = calloc(1, sizeof(*gone));

    if (gone == NULL)
        return;
    gone->mail.deliver = deliver_gone;
    gone->r = r;
    (void)edge_mailbox_post(&r->loop->edge->inbox,
                            &gone->mail); /* open until every loop has ended */
}

/* Before the request was posted it is ours to free; afterwards it comes back by itself. */
static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct edge_api_request *r = http_exchange_user(x);

    (void)err;
    r->x = NULL;
    if (!r->is_asked)
        edge_api_free(r);
    else if (r->loop->edge->conf.on_api_gone && edge_api_is_session(r->path))
        tell_gone(r);
}

static const struct http_exchange_ops api_ops = {
    .on_body = on_body,
    .on_end = on_end,
    .on_abort = on_abort,
};

static const struct http_exchange_ops upload_ops = {.on_abort = on_abort};

static int copy_head(struct edge_api_request *r, const struct http_head *head)
{
    int rc = adit_buf_append_view(&r->text, head->method_text);

    if (rc == 0)
        rc = adit_buf_append_view(&r->text, head->target);
    for (size_t i = 0; i < head->header_cnt && rc == 0; i++) {
        const struct http_header *h = &head->headers[i];

        r->headers[i] = (struct edge_header_text){r->text.len, h->name.len,
                                                  r->text.len + h->name.len, h->value.len};
        rc = adit_buf_append_view(&r->text, h->name);
        if (rc == 0)
            rc = adit_buf_append_view(&r->text, h->value);
    }
    r->method_len = head->method_text.len;
    r->target_len = head->target.len;
    r->header_cnt = head->header_cnt;
    return rc;
}

static int split_target(struct edge_api_request *r)
{
    struct url_target t;
    struct adit_view text = adit_buf_view(&r->text);
    int rc = url_split_target(adit_view_mem(text.ptr + r->method_len, r->target_len), &t, NULL);

    r->path = t.path;
    r->query = t.query;
    return rc;
}

static void answer_preflight(struct http_exchange *x, const char *id, const struct http_head *head)
{
    struct adit_view asked = http_head_get(head, "access-control-request-headers");
    int rc = http_exchange_header_str(x, "Access-Control-Allow-Methods",
                                      "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD");

    if (rc == 0 && asked.len > 0)
        rc = http_exchange_header(x, (struct adit_view)ADIT_VIEW("Access-Control-Allow-Headers"),
                                  asked);
    if (rc == 0)
        rc = http_exchange_header_str(x, "Access-Control-Max-Age", "7200");
    if (rc == 0)
        answer(x, id, true, 204, (struct adit_view){NULL, 0});
    else
        http_exchange_reset(x);
}

static struct edge_api_request *make_request(struct edge_loop *l, struct http_exchange *x,
                                             const struct http_head *head, const char *id)
{
    struct edge_api_request *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->loop = l;
    r->x = x;
    r->method = head->method;
    r->has_origin = http_head_get(head, "origin").ptr != NULL;
    r->is_encrypted = net_stream_is_encrypted(http_exchange_stream(x));
    r->began_ns = uv_hrtime();
    snprintf(r->id, sizeof(r->id), "%s", id);
    snprintf(r->peer, sizeof(r->peer), "%s", net_stream_peer(http_exchange_stream(x)));
    adit_buf_init(&r->text, HTTP_HEAD_CAP);
    adit_buf_init(&r->body, EDGE_API_BODY_MAX);
    adit_buf_init(&r->answer_body, SIZE_MAX);
    if (copy_head(r, head) == 0 && hold(r, r->text.len) == 0)
        return r;
    edge_api_free(r);
    return NULL;
}

void edge_api_request(struct edge_loop *l, struct http_exchange *x, const struct http_head *head)
{
    char id[EDGE_REQUEST_ID_CAP];
    struct asker asker = {id, http_head_get(head, "origin").ptr != NULL,
                          edge_api_is_session(head->target)};
    struct edge_api_request *r;

    edge_request_id_take(&l->ids, head, id);
    if (head->method == HTTP_OPTIONS &&
        http_head_get(head, "access-control-request-method").ptr != NULL) {
        answer_preflight(x, id, head);
        return;
    }
    r = make_request(l, x, head, id);
    if (r == NULL) {
        answer_error(x, &asker, 503, "Out of memory");
        return;
    }
    if (split_target(r) != 0) {
        edge_api_free(r);
        answer_error(x, &asker, 400, "Bad request target");
        return;
    }
    if (!is_upload(r)) {
        http_exchange_set_ops(x, &api_ops, r);
        return;
    }
    http_exchange_set_ops(x, &upload_ops, r);
    http_exchange_pause(x);
    ask(r);
}

/* ---- what the control loop sees ---- */

enum http_method edge_api_method(const struct edge_api_request *r)
{
    return r->method;
}

struct adit_view edge_api_method_text(const struct edge_api_request *r)
{
    return adit_view_mem(adit_buf_view(&r->text).ptr, r->method_len);
}

struct adit_view edge_api_path(const struct edge_api_request *r)
{
    return r->path;
}

struct adit_view edge_api_query(const struct edge_api_request *r)
{
    return r->query;
}

struct adit_view edge_api_header(const struct edge_api_request *r, const char *name)
{
    const char *text = adit_buf_view(&r->text).ptr;

    for (size_t i = 0; i < r->header_cnt; i++) {
        const struct edge_header_text *h = &r->headers[i];

        if (adit_view_ieq_str(adit_view_mem(text + h->name_at, h->name_len), name))
            return adit_view_mem(text + h->value_at, h->value_len);
    }
    return (struct adit_view){NULL, 0};
}

struct adit_view edge_api_body(const struct edge_api_request *r)
{
    return adit_buf_view(&r->body);
}

void edge_api_drop_body(struct edge_api_request *r)
{
    r->held -= r->body.len;
    r->loop->api_bytes -= r->body.len;
    adit_buf_fini(&r->body);
    adit_buf_init(&r->body, 0);
}

const char *edge_api_peer(const struct edge_api_request *r)
{
    return r->peer;
}

bool edge_api_is_encrypted(const struct edge_api_request *r)
{
    return r->is_encrypted;
}

const char *edge_api_id(const struct edge_api_request *r)
{
    return r->id;
}

int edge_api_set_header(struct edge_api_request *r, const char *name, struct adit_view value)
{
    if (r->answer_header_cnt == EDGE_API_HEADERS_MAX)
        return ADIT_ERR_LIMIT;
    char *copy = adit_view_dup(value);
    if (copy == NULL)
        return ADIT_ERR_NO_MEMORY;
    r->answer_headers[r->answer_header_cnt].name = name;
    r->answer_headers[r->answer_header_cnt++].value = copy;
    return 0;
}

int edge_api_reserve(struct edge_api_request *r, size_t len)
{
    return adit_buf_reserve(&r->answer_body, len);
}

void edge_api_reply(struct edge_api_request *r, unsigned status, struct adit_view body)
{
    r->answer_status = status;
    if (adit_buf_append_view(&r->answer_body, body) != 0)
        r->answer_status = 503;
    struct edge *e = r->loop->edge;
    r->mail.deliver = deliver_answer;
    if (!edge_mailbox_post(&r->loop->inbox, &r->mail))
        edge_api_free(r); /* its loop has ended, and its client with it */
    edge_api_over(e);
}

void edge_api_over(struct edge *e)
{
    e->api_cnt--;
    if (e->running_cnt == 0)
        edge_maybe_closed(e);
}
