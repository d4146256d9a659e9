/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 server connections: reading requests, giving them to the handler, timers, draining.
 *
 * Theory of operation
 *
 * States of a connection (enum http_conn_state):
 *
 *   HEAD ──head──> BODY ──end of request──> ANSWER ──answer ended──> HEAD
 *                   │ └──answer ended──> rest of the body ──> HEAD   (keep-alive)
 *                   └──begin(RAW)──> RAW ──both sides closed──> DEAD
 *   any ──error, timer, reset, end without keep-alive──> DEAD
 *
 * Input is parsed where it lies in the loop's scratch buffer. What cannot be taken now (the handler
 * paused, or a pipelined request came) is copied to @held and reading stops until it is used up; so
 * a connection holds at most one read of input, and an idle one holds none. Held input is taken at
 * the next loop turn, never inside the handler's call.
 *
 * Ownership: a connection is owned by its server, one exchange is embedded in it. @busy fences it:
 * a connection that dies while its code runs is freed when the outermost call leaves, and so are
 * the parser and the held bytes that views of the handler may point into.
 *
 * A streamed answer may end before the request does, often by a last chunk that is under way. The
 * client was told that the connection stays, so it may send its next request at any moment: up to
 * HTTP_SERVER_REST_MAX bytes of the body are read and dropped instead of closing under that
 * request.
 *
 * Failure: the exchange hears on_abort once; whatever can still be answered is (conf.on_refuse),
 * with a lingering close so that the client can read it. After any error nothing more is read.
 */
#include "net/http_server_int.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Pipelined requests taken in one turn; the rest waits for the next. */
#define REQUESTS_PER_TURN 32
/* One read, and what an adopted connection brought along. */
#define HELD_CAP (2u * NET_SCRATCH_CAP)
/* HTTP/2's preface ("PRI * HTTP/2.0…") differs at its third byte from every method served here. */
#define MAGIC "PRI"
#define MAGIC_LEN (sizeof(MAGIC) - 1)
#define MAGIC_NOT (MAGIC_LEN + 1)

/* ---- end of a connection ---- */

/* CLOSE_NOT: the stream has another owner. */
enum close_kind { CLOSE_GRACEFULLY, CLOSE_RESET, CLOSE_NOT };

static void conn_leave(struct http_conn *c)
{
    if (--c->busy)
        return;
    if (c->state != HTTP_CONN_DEAD) {
        http_server_update(c);
        return;
    }
    http_parser_free(c->parser);
    adit_buf_fini(&c->held);
    free(c);
}

void http_server_link(struct http_server *s, struct http_link *link)
{
    adit_list_init(&link->node);
    adit_list_push(&s->links, &link->node);
    s->conn_cnt++;
}

void http_server_unlink(struct http_server *s, struct http_link *link)
{
    adit_list_remove(&link->node);
    if (--s->conn_cnt == 0 && s->is_draining)
        net_task_post(&s->drained);
}

static void conn_kill(struct http_conn *c, enum close_kind kind)
{
    if (c->state == HTTP_CONN_DEAD)
        return;
    c->busy++;
    c->state = HTTP_CONN_DEAD;
    net_deadline_cancel(&c->deadline);
    net_task_cancel(&c->turn);
    http_exchange_fini(&c->exchange);
    if (kind == CLOSE_RESET)
        net_stream_reset(c->stream);
    else if (kind == CLOSE_GRACEFULLY)
        net_stream_close_gracefully(c->stream);
    http_server_unlink(c->server, &c->link);
    conn_leave(c);
}

static void exchange_abort(struct http_conn *c, const struct adit_err *err)
{
    struct http_exchange *x = &c->exchange;

    if (!x->is_live)
        return;
    http_exchange_over(x);
    if (x->ops->on_abort)
        x->ops->on_abort(x, err);
}

/* The connection is of no use any more, and nothing can be answered. */
static void conn_fail(struct http_conn *c, const struct adit_err *err)
{
    bool cut = c->exchange.is_live || c->is_reset;

    c->busy++;
    exchange_abort(c, err);
    conn_kill(c, cut ? CLOSE_RESET : CLOSE_GRACEFULLY);
    conn_leave(c);
}

void http_server_compose_refusal(struct http_server *s, unsigned status, const char *message,
                                 struct adit_buf *headers, struct adit_buf *body)
{
    adit_buf_init(headers, HTTP_REFUSE_HEADERS_CAP);
    adit_buf_init(body, HTTP_REFUSE_BODY_CAP);
    if (s->conf.on_refuse) {
        s->conf.on_refuse(s, status, message, headers, body);
    } else if (http_write_header_str(headers, "Content-Type", "text/plain; charset=utf-8") != 0 ||
               adit_buf_append_str(body, message) != 0) {
        adit_buf_clear(headers); /* without memory the status alone must do */
    }
}

static void send_refusal(struct http_conn *c, unsigned status, const char *message)
{
    struct adit_buf headers, body;

    http_server_compose_refusal(c->server, status, message, &headers, &body);
    http_answer_send_refusal(c, status, adit_buf_view(&headers), adit_buf_view(&body));
    adit_buf_fini(&headers);
    adit_buf_fini(&body);
}

/* Answer what cannot be served, tell the handler, close. */
static void conn_refuse(struct http_conn *c, unsigned status, const struct adit_err *err)
{
    bool begun = c->exchange.is_live && c->exchange.answer >= HTTP_ANSWER_SENT;

    c->busy++;
    exchange_abort(c, err);
    if (c->state != HTTP_CONN_DEAD && !begun)
        send_refusal(c, status, err->msg);
    conn_kill(c, begun ? CLOSE_RESET : CLOSE_GRACEFULLY);
    conn_leave(c);
}

void http_server_reset(struct http_conn *c)
{
    http_exchange_over(&c->exchange);
    conn_kill(c, CLOSE_RESET);
}

void http_server_answered(struct http_conn *c)
{
    struct http_exchange *x = &c->exchange;

    http_exchange_over(x);
    if (c->is_broken || c->state == HTTP_CONN_RAW || !x->keep_alive || c->server->is_draining) {
        conn_kill(c, c->is_reset ? CLOSE_RESET : CLOSE_GRACEFULLY);
        return;
    }
    http_exchange_fini(x);
    c->has_served = true;
    c->wait = HTTP_WAIT_NOTHING;
    if (c->state == HTTP_CONN_ANSWER)
        c->state = HTTP_CONN_HEAD;
    http_server_update(c);
}

/* ---- input ---- */

static void give_request(struct http_conn *c, const struct http_head *head)
{
    c->state = HTTP_CONN_BODY;
    c->has_body = http_head_has_body(head, head->method);
    c->rest_len = 0;
    c->wait = HTTP_WAIT_NOTHING;
    http_exchange_init(&c->exchange, head);
    c->server->conf.on_request(&c->exchange, head);
}

static void give_body(struct http_conn *c, struct adit_view bytes)
{
    struct http_exchange *x = &c->exchange;

    x->expects_continue = false;
    if (x->is_live && x->ops->on_body)
        x->ops->on_body(x, bytes);
    else if (!x->is_live && (c->rest_len += bytes.len) > HTTP_SERVER_REST_MAX)
        conn_kill(c, CLOSE_GRACEFULLY);
}

static void give_end(struct http_conn *c)
{
    struct http_exchange *x = &c->exchange;

    if (!x->is_live) {
        c->state = HTTP_CONN_HEAD;
        if (c->server->is_draining)
            conn_kill(c, CLOSE_GRACEFULLY);
        return;
    }
    c->state = HTTP_CONN_ANSWER;
    if (x->ops->on_end)
        x->ops->on_end(x);
}

/* Take one event out of @in. Return: false when there is nothing more to do now. */
static bool conn_step(struct http_conn *c, struct adit_view *in)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct http_head head;
    struct adit_view body;
    enum http_event event;

    if (c->state == HTTP_CONN_RAW) {
        body = *in;
        *in = adit_view_mem(NULL, 0);
        c->has_moved = true;
        if (body.len)
            give_body(c, body);
        return false;
    }
    if (http_parser_next(c->parser, in, &head, &body, &event, &err) != ADIT_OK) {
        conn_refuse(c, http_parser_error_status(c->parser), &err);
        return false;
    }
    switch (event) {
    case HTTP_EV_MORE:
        return false;
    case HTTP_EV_HEAD:
        give_request(c, &head);
        return true;
    case HTTP_EV_BODY:
        give_body(c, body);
        return true;
    case HTTP_EV_END:
        give_end(c);
        return true;
    }
    return false;
}

/* Is there somebody who takes input now? */
static bool takes_input(const struct http_conn *c)
{
    switch (c->state) {
    case HTTP_CONN_HEAD: /* not before the client has read most of what it asked for until now */
        return !c->is_broken && !net_stream_is_congested(c->stream);
    case HTTP_CONN_BODY:
    case HTTP_CONN_RAW:
        return !c->is_broken && !(c->exchange.is_live && c->exchange.is_paused);
    case HTTP_CONN_ANSWER:
    case HTTP_CONN_DEAD:
        break;
    }
    return false;
}

/* Return: how many bytes at the end of @in nobody took yet. */
static size_t conn_feed(struct http_conn *c, struct adit_view in)
{
    unsigned budget = REQUESTS_PER_TURN;

    while (takes_input(c) && budget) {
        if (c->state == HTTP_CONN_HEAD && --budget == 0)
            break;
        if (!conn_step(c, &in))
            break;
    }
    return in.len;
}

/* Are these first bytes, after those before them, HTTP/2's? */
static bool is_http2(struct http_conn *c, struct adit_view bytes)
{
    for (size_t i = 0; i < bytes.len && c->magic_len < MAGIC_LEN; i++)
        c->magic_len = bytes.ptr[i] == MAGIC[c->magic_len] ? c->magic_len + 1 : MAGIC_NOT;
    return c->magic_len == MAGIC_LEN;
}

/* What the parser took of the preface is known to the byte, so it is said again, not kept. */
static void hand_over(struct http_conn *c, size_t before, struct adit_view bytes)
{
    c->server->conf.adopt_http2(c->server, c->stream, adit_view_mem(MAGIC, before), bytes);
    conn_kill(c, CLOSE_NOT);
}

static void conn_take(struct http_conn *c, struct adit_view bytes)
{
    size_t left, before = c->magic_len;

    if (c->server->conf.adopt_http2 && before < MAGIC_LEN && is_http2(c, bytes)) {
        hand_over(c, before, bytes);
        return;
    }
    c->busy++;
    left = conn_feed(c, bytes);
    if (c->state != HTTP_CONN_DEAD && left &&
        adit_buf_append(&c->held, bytes.ptr + bytes.len - left, left) != ADIT_OK) {
        c->is_broken = c->is_reset = true;
        net_task_post(&c->turn);
    }
    conn_leave(c);
}

static void conn_take_held(struct http_conn *c)
{
    size_t left = conn_feed(c, adit_buf_view(&c->held));

    if (c->state != HTTP_CONN_DEAD)
        adit_buf_consume(&c->held, c->held.len - left);
}

/* Can the parser go on with what is there, without a read? */
static bool has_work(const struct http_conn *c)
{
    return takes_input(c) && (c->held.len || (c->state == HTTP_CONN_BODY && !c->has_body));
}

static void on_turn(struct net_task *t)
{
    struct http_conn *c = ADIT_CONTAINER_OF(t, struct http_conn, turn);
    struct adit_err err = ADIT_ERR_INIT;

    c->busy++;
    if (c->exchange.is_live)
        http_answer_send_pending(&c->exchange);
    if (c->is_broken) {
        (void)adit_err_set(&err, ADIT_ERR_CLOSED, "connection lost"); /* only told */
        conn_fail(c, &err);
    } else if (takes_input(c)) {
        conn_take_held(c); /* none held: the end of the body may still have to be told */
    }
    conn_leave(c);
}

/* ---- what the connection waits for ---- */

static enum http_conn_wait what_wait(const struct http_conn *c)
{
    const struct http_exchange *x = &c->exchange;

    switch (c->state) {
    case HTTP_CONN_HEAD:
        if (net_stream_is_congested(c->stream))
            return HTTP_WAIT_STALLED;
        if (!http_parser_is_idle(c->parser) || c->held.len)
            return HTTP_WAIT_HEAD;
        return c->has_served ? HTTP_WAIT_IDLE : HTTP_WAIT_FIRST;
    case HTTP_CONN_BODY:
        if (!x->is_live)
            return HTTP_WAIT_IDLE;
        if (x->is_paused)
            return HTTP_WAIT_STALLED;
        return x->answer == HTTP_ANSWER_NONE ? HTTP_WAIT_BODY : HTTP_WAIT_NOTHING;
    case HTTP_CONN_RAW:
        return c->peer_ended || x->answer == HTTP_ANSWER_ENDED ? HTTP_WAIT_RAW_END
                                                               : HTTP_WAIT_NOTHING;
    case HTTP_CONN_ANSWER:
        return c->held.len ? HTTP_WAIT_STALLED : HTTP_WAIT_NOTHING;
    case HTTP_CONN_DEAD:
        break;
    }
    return HTTP_WAIT_NOTHING;
}

static uint64_t wait_ms(const struct http_server_conf *conf, enum http_conn_wait wait)
{
    switch (wait) {
    case HTTP_WAIT_FIRST:
        return conf->header_ms ? conf->header_ms : conf->idle_ms;
    case HTTP_WAIT_HEAD:
        return conf->header_ms;
    case HTTP_WAIT_BODY:
        return conf->body_ms;
    case HTTP_WAIT_IDLE:
    case HTTP_WAIT_RAW_END:
        return conf->idle_ms;
    case HTTP_WAIT_STALLED:
        return HTTP_SERVER_LOOK_MS;
    case HTTP_WAIT_NOTHING:
        break;
    }
    return 0;
}

static void update_deadline(struct http_conn *c)
{
    enum http_conn_wait wait = what_wait(c);
    uint64_t ms;

    /* A head that drips in does not get more time. Nothing to wait for always stops the timer: a
     * request that came whole leaves that of its head behind. */
    if (wait == c->wait && wait != HTTP_WAIT_BODY && wait != HTTP_WAIT_NOTHING)
        return;
    c->wait = wait;
    ms = wait_ms(&c->server->conf, wait);
    if (ms)
        net_deadline_arm(&c->deadline, ms);
    else
        net_deadline_cancel(&c->deadline);
}

void http_server_update(struct http_conn *c)
{
    struct http_exchange *x = &c->exchange;

    if (c->busy || c->state == HTTP_CONN_DEAD)
        return; /* whoever is busy comes here at last */
    if (x->is_live && x->expects_continue && x->answer == HTTP_ANSWER_NONE && !x->is_paused &&
        c->state == HTTP_CONN_BODY)
        http_answer_send_continue(x);
    if (has_work(c))
        net_task_post(&c->turn);
    if (c->held.len || (x->is_live && x->is_paused && c->state != HTTP_CONN_ANSWER))
        net_stream_read_stop(c->stream);
    else
        net_stream_read_start(c->stream);
    update_deadline(c);
}

static void look_for_client(struct http_conn *c)
{
    struct adit_err err = ADIT_ERR_INIT;

    if (!net_stream_peer_has_closed(c->stream)) {
        net_deadline_arm(&c->deadline, HTTP_SERVER_LOOK_MS);
        return;
    }
    (void)adit_err_set(&err, ADIT_ERR_CLOSED, "the client is gone"); /* only told */
    conn_fail(c, &err);
}

static void end_half_closed(struct http_conn *c)
{
    struct adit_err err = ADIT_ERR_INIT;

    if (c->has_moved) {
        c->has_moved = false;
        net_deadline_arm(&c->deadline, c->server->conf.idle_ms);
        return;
    }
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the other side does not close"); /* only told */
    conn_fail(c, &err);
}

static void on_due(struct net_deadline *d)
{
    struct http_conn *c = ADIT_CONTAINER_OF(d, struct http_conn, deadline);
    struct adit_err err = ADIT_ERR_INIT;

    switch (c->wait) {
    case HTTP_WAIT_HEAD:
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the request took too long"); /* only told */
        conn_refuse(c, 408, &err);
        break;
    case HTTP_WAIT_BODY:
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the request body stalled"); /* only told */
        conn_refuse(c, 408, &err);
        break;
    case HTTP_WAIT_RAW_END:
        end_half_closed(c);
        break;
    case HTTP_WAIT_STALLED:
        look_for_client(c);
        break;
    case HTTP_WAIT_FIRST:
    case HTTP_WAIT_IDLE:
    case HTTP_WAIT_NOTHING:
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "nothing came"); /* only told */
        conn_fail(c, &err);
        break;
    }
}

/* ---- stream events ---- */

static void on_read(struct net_stream *stream, struct adit_view bytes)
{
    conn_take(net_stream_owner(stream), bytes);
}

static void raw_ended(struct http_conn *c)
{
    struct http_exchange *x = &c->exchange;

    c->peer_ended = true;
    c->busy++;
    if (x->is_live && x->ops->on_end)
        x->ops->on_end(x);
    if (x->is_live && x->answer == HTTP_ANSWER_ENDED)
        http_server_answered(c);
    conn_leave(c);
}

static void on_end(struct net_stream *stream, const struct adit_err *err)
{
    struct http_conn *c = net_stream_owner(stream);
    struct adit_err gone = ADIT_ERR_INIT;

    if (c->state == HTTP_CONN_RAW && !err) {
        raw_ended(c);
        return;
    }
    (void)adit_err_set(&gone, ADIT_ERR_CLOSED, "the client is gone%s%s", err ? ": " : "",
                       err ? err->msg : ""); /* only told */
    conn_fail(c, &gone);
}

static void on_drain(struct net_stream *stream)
{
    struct http_conn *c = net_stream_owner(stream);

    if (!c->exchange.is_live)
        http_server_update(c);
    else if (c->exchange.ops->on_drain)
        c->exchange.ops->on_drain(&c->exchange);
}

static const struct net_stream_ops stream_ops = {on_read, on_end, on_drain};

/* ---- server ---- */

static void on_link_drain(struct http_link *link)
{
    struct http_conn *c = ADIT_CONTAINER_OF(link, struct http_conn, link);

    if (c->state == HTTP_CONN_HEAD && http_parser_is_idle(c->parser) && !c->held.len)
        conn_kill(c, CLOSE_GRACEFULLY);
}

static void on_link_fail(struct http_link *link, const struct adit_err *err)
{
    struct http_conn *c = ADIT_CONTAINER_OF(link, struct http_conn, link);

    c->is_reset = true;
    conn_fail(c, err);
}

static const struct http_link_ops link_ops = {on_link_drain, on_link_fail};

static struct http_conn *conn_new(struct http_server *s, struct net_stream *stream)
{
    struct http_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->parser = http_parser_new(HTTP_REQUEST);
    if (!c->parser) {
        free(c);
        return NULL;
    }
    c->link.ops = &link_ops;
    c->server = c->exchange.server = s;
    c->stream = c->exchange.stream = stream;
    c->exchange.carrier = &http_answer_carrier;
    http_exchange_set_ops(&c->exchange, NULL, NULL);
    adit_buf_init(&c->exchange.headers, HTTP_EXCHANGE_HEADERS_CAP);
    adit_buf_init(&c->held, HELD_CAP);
    net_deadline_init(&c->deadline, s->loop, on_due);
    net_task_init(&c->turn, s->loop, on_turn);
    http_server_link(s, &c->link);
    return c;
}

void http_server_adopt(struct http_server *s, struct net_stream *take_stream,
                       struct adit_view already)
{
    bool is_full = s->conf.connections_max && s->conn_cnt >= s->conf.connections_max;
    struct http_conn *c = s->is_draining || is_full ? NULL : conn_new(s, take_stream);

    if (!c) {
        net_stream_close(take_stream);
        return;
    }
    net_stream_set_owner(take_stream, &stream_ops, c);
    conn_take(c, already);
}

void http_server_accept(void *server, int take_fd)
{
    struct http_server *s = server;
    struct net_stream *stream;
    struct adit_err err = ADIT_ERR_INIT;

    if (net_stream_open_fd(s->loop, take_fd, NULL, NULL, &stream, &err) == ADIT_OK)
        http_server_adopt(s, stream, adit_view_mem(NULL, 0));
}

static void server_free(struct http_server *s)
{
    net_deadline_cancel(&s->grace);
    adit_buf_fini(&s->head);
    adit_buf_fini(&s->spare_headers);
    free(s);
}

static void on_drained(struct net_task *t)
{
    struct http_server *s = ADIT_CONTAINER_OF(t, struct http_server, drained);

    s->on_drained(s->conf.owner);
    server_free(s);
}

static void on_grace_over(struct net_deadline *d)
{
    struct http_server *s = ADIT_CONTAINER_OF(d, struct http_server, grace);
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_list *node;

    (void)adit_err_set(&err, ADIT_ERR_CANCELED, "the server stops"); /* only told */
    while ((node = adit_list_first(&s->links))) {
        struct http_link *link = ADIT_CONTAINER_OF(node, struct http_link, node);
        link->ops->fail(link, &err);
    }
}

int http_server_new(struct net_loop *l, const struct http_server_conf *conf,
                    struct http_server **out, struct adit_err *err)
{
    struct http_server *s = calloc(1, sizeof(*s));

    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "HTTP server");
    s->loop = l;
    s->conf = *conf;
    s->date_s = -1;
    adit_list_init(&s->links);
    adit_buf_init(&s->head, HTTP_EXCHANGE_HEADERS_CAP + HTTP_HEAD_CAP);
    adit_buf_init(&s->spare_headers, HTTP_EXCHANGE_HEADERS_CAP);
    net_deadline_init(&s->grace, l, on_grace_over);
    net_task_init(&s->drained, l, on_drained);
    *out = s;
    return ADIT_OK;
}

void *http_server_owner(const struct http_server *s)
{
    return s->conf.owner;
}

size_t http_server_connection_cnt(const struct http_server *s)
{
    return s->conn_cnt;
}

size_t http_server_exchange_cnt(const struct http_server *s)
{
    return s->exchange_cnt;
}

void http_server_drain(struct http_server *s, uint64_t grace_ms, void (*drained)(void *owner))
{
    struct adit_list *it, *tmp;

    s->is_draining = true;
    s->on_drained = drained;
    ADIT_LIST_EACH(it, tmp, &s->links)
    {
        struct http_link *link = ADIT_CONTAINER_OF(it, struct http_link, node);
        link->ops->drain(link);
    }
    if (s->conn_cnt == 0)
        net_task_post(&s->drained);
    else
        net_deadline_arm(&s->grace, grace_ms);
}

const char *http_server_date(struct http_server *s)
{
    int64_t now_s = adit_clock_wall_ns() / 1000000000;
    time_t t = (time_t)now_s;
    struct tm tm;

    if (now_s == s->date_s)
        return s->date;
    if (!gmtime_r(&t, &tm) ||
        strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        s->date[0] = '\0';
    s->date_s = now_s;
    return s->date;
}
