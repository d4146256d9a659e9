/* SPDX-License-Identifier: Apache-2.0 */
/* RPC on server exchanges. */
/*
 * Theory of operation
 *
 * What      The shell around the protocols: bytes of an exchange in, messages to the handler, its
 *           answers and errors out. Nothing here asks which protocol it is, but only whether
 *           messages have envelopes.
 *
 * States    OPENING --on_open well--> READING --body complete--> WAITING --any end--> OVER
 *
 *           An error leads from each to OVER. OPENING: refusals are between us and the client.
 *           READING, WAITING: the handler has the call; either it ends the call (send, finish,
 *           abort) or we do, and then on_cancel says so. A message that is a whole body is
 *           delivered WAITING; the one envelope of a call may be while bytes behind it come, which
 *           are ignored.
 *
 * Ownership A call is owned by its exchange until that ends; then it is freed, or, while code of
 *           ours runs in it (@busy), when that leaves.
 *
 * Pause     Envelopes of a client stream that came with the pause are held (at most one read) and
 *           taken at a later turn of the loop, never inside rpc_call_resume().
 *
 * Limits    RPC_MESSAGE_MAX in, RPC_ANSWER_MAX out. The deadline is the client's; without one a
 *           call lives as long as its connection.
 *
 * Failure   One way out without the handler: call_fail().
 */
#include "rpc/rpc_server.h"

#include <stdlib.h>

#include "net/gzip.h"
#include "rpc/status.h"

enum call_state { CALL_OPENING, CALL_READING, CALL_WAITING, CALL_OVER };

/*
 * @exchange:  NULL once the call is over
 * @pending:   the one envelope of a call, until it is delivered
 * @held:      input that came while paused
 * @is_ended:  the request's body is complete
 * @is_begun:  the head of a stream's answer is sent
 */
struct rpc_call {
    struct http_exchange *exchange;
    const struct rpc_service *service;
    const struct rpc_method *method;
    void *app, *user;
    struct net_loop *loop; /* borrowed */
    struct protocol_request request;
    struct message_reader reader;
    ProtobufCMessage *pending;
    struct adit_buf held, out;
    struct net_deadline deadline;
    struct net_task turn;
    enum call_state state;
    unsigned busy;
    bool is_paused, is_ended, is_begun;
};

/* ---- life ---- */

static void call_enter(struct rpc_call *c)
{
    c->busy++;
}

static void call_leave(struct rpc_call *c)
{
    if (--c->busy || c->state != CALL_OVER)
        return;
    protobuf_c_message_free_unpacked(c->pending, NULL);
    message_reader_fini(&c->reader);
    adit_buf_fini(&c->held);
    adit_buf_fini(&c->out);
    free(c);
}

/* The exchange has ended, or will be ended by the caller of this. */
static struct http_exchange *call_over(struct rpc_call *c)
{
    struct http_exchange *x = c->exchange;
    c->exchange = NULL;
    c->state = CALL_OVER;
    net_deadline_cancel(&c->deadline);
    net_task_cancel(&c->turn);
    return x;
}

/* ---- answers ---- */

static bool has_envelopes(const struct rpc_call *c)
{
    return c->request.protocol->has_envelopes;
}

static int put_type(struct http_exchange *x, const char *type)
{
    return http_exchange_header_str(x, "Content-Type", type);
}

/* Answer and end. What cannot be answered breaks the connection. */
static void end_body(struct rpc_call *c, unsigned status, const char *type, int rc)
{
    struct http_exchange *x = call_over(c);
    if (!rc)
        rc = put_type(x, type);
    if (rc)
        http_exchange_reset(x);
    else
        http_exchange_reply(x, status, adit_buf_view(&c->out));
}

static void fail_body(struct rpc_call *c, const struct adit_err *err)
{
    adit_buf_clear(&c->out);
    end_body(c, rpc_status_connect_http(err->code), "application/json",
             c->request.protocol->append_error(err, &c->out));
}

static int begin_stream(struct rpc_call *c)
{
    if (c->is_begun)
        return 0;
    c->is_begun = true;
    int rc = put_type(c->exchange, c->request.type);
    if (!rc && c->request.protocol->accept_encoding)
        rc = http_exchange_header_str(c->exchange, c->request.protocol->accept_encoding, "gzip");
    if (!rc)
        http_exchange_begin(c->exchange, 200, HTTP_FRAMING_CHUNKED, 0);
    return rc;
}

/* Send what is in @out, in one write. */
static int flush_stream(struct rpc_call *c)
{
    int rc = begin_stream(c);
    if (!rc)
        rc = http_exchange_write(c->exchange, adit_buf_view(&c->out));
    adit_buf_consume(&c->out, c->out.len);
    return rc;
}

/* Send what is in @out and the end of the stream, in one write. */
static void end_stream(struct rpc_call *c, const struct adit_err *err)
{
    int rc = c->request.protocol->append_end(err, &c->out);
    if (!c->is_ended)
        http_exchange_no_keepalive(c->exchange); /* in time, it saves reading the body's rest */
    if (!rc)
        rc = flush_stream(c);
    struct http_exchange *x = call_over(c);
    if (rc)
        http_exchange_reset(x);
    else
        http_exchange_end(x);
}

static void end_with_error(struct rpc_call *c, const struct adit_err *err)
{
    http_exchange_set_verdict(c->exchange, rpc_status_connect(err->code));
    if (!has_envelopes(c)) {
        fail_body(c, err);
        return;
    }
    adit_buf_clear(&c->out);
    end_stream(c, err);
}

/* End the call without the handler: first the client is told, then the handler. */
static void call_fail(struct rpc_call *c, const struct adit_err *err)
{
    bool opened = c->state != CALL_OPENING;
    call_enter(c);
    end_with_error(c, err);
    if (opened && c->method->on_cancel)
        c->method->on_cancel(c, err->code);
    call_leave(c);
}

static int compress_answer(struct rpc_call *c)
{
    struct adit_buf packed;
    adit_buf_init(&packed, RPC_ANSWER_MAX);
    int rc = http_exchange_header_str(c->exchange, "Content-Encoding", "gzip");
    if (!rc)
        rc = gzip_encode_all(adit_buf_view(&c->out), &packed, NULL);
    adit_buf_fini(&c->out);
    c->out = packed;
    return rc;
}

static int send_body(struct rpc_call *c)
{
    int rc = 0;
    if (c->request.gzip_out && c->out.len >= RPC_GZIP_MIN)
        rc = compress_answer(c);
    end_body(c, 200, c->request.type, rc);
    return rc;
}

static int send_envelope(struct rpc_call *c)
{
    if (c->method->kind != RPC_SERVER_STREAM) {
        end_stream(c, NULL);
        return 0;
    }
    int rc = flush_stream(c);
    if (rc)
        http_exchange_reset(call_over(c));
    return rc;
}

static int append_answer(struct rpc_call *c, const ProtobufCMessage *m)
{
    return has_envelopes(c) ? message_append_envelope(0, c->request.codec, m, &c->out)
                            : message_append(c->request.codec, m, &c->out);
}

int rpc_call_send(struct rpc_call *c, const ProtobufCMessage *m)
{
    struct adit_err err = ADIT_ERR_INIT;

    call_enter(c);
    int rc = append_answer(c, m);
    if (rc) {
        (void)adit_err_set(&err, rc == ADIT_ERR_BAD_INPUT ? ADIT_ERR_BUG : rc,
                           rc == ADIT_ERR_LIMIT ? "the answer is too large"
                                                : "the answer cannot be written"); /* only told */
        end_with_error(c, &err);
    } else {
        rc = has_envelopes(c) ? send_envelope(c) : send_body(c);
    }
    call_leave(c);
    return rc;
}

void rpc_call_finish(struct rpc_call *c, const struct adit_err *err)
{
    struct adit_err none = ADIT_ERR_INIT;
    bool clean = !err || !err->code;

    call_enter(c);
    if (clean && c->method->kind == RPC_SERVER_STREAM) {
        end_stream(c, NULL);
    } else {
        if (clean)
            (void)adit_err_set(&none, ADIT_ERR_BUG, "the call has no answer"); /* only told */
        end_with_error(c, clean ? &none : err);
    }
    call_leave(c);
}

void rpc_call_abort(struct rpc_call *c)
{
    call_enter(c);
    http_exchange_reset(call_over(c));
    call_leave(c);
}

/* ---- requests ---- */

static void deliver(struct rpc_call *c, ProtobufCMessage *take_msg)
{
    c->method->on_message(c, take_msg);
    protobuf_c_message_free_unpacked(take_msg, NULL);
}

static void deliver_later(struct rpc_call *c, ProtobufCMessage *take_msg)
{
    c->pending = take_msg;
    net_task_post(&c->turn);
}

static void deliver_pending(struct rpc_call *c)
{
    ProtobufCMessage *msg = c->pending;
    c->pending = NULL;
    net_task_cancel(&c->turn);
    deliver(c, msg);
}

/* Give the messages in @in to the handler, as long as it wants them. */
static void read_bytes(struct rpc_call *c, struct adit_view *in)
{
    struct adit_err err = ADIT_ERR_INIT;
    ProtobufCMessage *msg;

    while (in->len && c->state == CALL_READING && !c->is_paused) {
        if (message_reader_feed(&c->reader, in, &msg, &err))
            call_fail(c, &err);
        else if (msg && c->method->kind == RPC_CLIENT_STREAM)
            deliver(c, msg);
        else if (msg)
            deliver_later(c, msg);
    }
}

/* The body is complete and all of it was read. */
static void read_end(struct rpc_call *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    ProtobufCMessage *msg;

    if (message_reader_end(&c->reader, &msg, &err)) {
        call_fail(c, &err);
        return;
    }
    c->state = CALL_WAITING;
    if (msg)
        deliver(c, msg);
    else if (c->pending)
        deliver_pending(c);
    else if (c->method->kind == RPC_CLIENT_STREAM && c->method->on_half_close)
        c->method->on_half_close(c);
}

static void hold(struct rpc_call *c, struct adit_view in)
{
    struct adit_err err = ADIT_ERR_INIT;
    int rc = adit_buf_append_view(&c->held, in);
    if (!rc)
        return;
    (void)adit_err_set(&err, rc, "no memory for the request"); /* only told */
    call_fail(c, &err);
}

static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    struct rpc_call *c = http_exchange_user(x);

    call_enter(c);
    if (c->held.len == 0)
        read_bytes(c, &bytes);
    if (c->state == CALL_READING && bytes.len)
        hold(c, bytes);
    call_leave(c);
}

static void on_end(struct http_exchange *x)
{
    struct rpc_call *c = http_exchange_user(x);

    call_enter(c);
    c->is_ended = true;
    if (c->state == CALL_READING && c->held.len == 0 && !c->is_paused)
        read_end(c);
    call_leave(c);
}

static void read_held(struct rpc_call *c)
{
    struct adit_view in = adit_buf_view(&c->held);

    read_bytes(c, &in);
    adit_buf_consume(&c->held, c->held.len - in.len);
    if (c->state != CALL_READING || c->is_paused)
        return;
    if (c->is_ended)
        read_end(c);
    else
        http_exchange_resume(c->exchange);
}

static void on_turn(struct net_task *t)
{
    struct rpc_call *c = ADIT_CONTAINER_OF(t, struct rpc_call, turn);

    call_enter(c);
    if (c->pending)
        deliver_pending(c);
    else
        read_held(c);
    call_leave(c);
}

void rpc_call_pause(struct rpc_call *c)
{
    c->is_paused = true;
    net_task_cancel(&c->turn);
    http_exchange_pause(c->exchange);
}

void rpc_call_resume(struct rpc_call *c)
{
    c->is_paused = false;
    if (c->held.len || c->is_ended)
        net_task_post(&c->turn);
    else
        http_exchange_resume(c->exchange);
}

static void on_drain(struct http_exchange *x)
{
    struct rpc_call *c = http_exchange_user(x);

    call_enter(c);
    if (c->method->on_drain)
        c->method->on_drain(c);
    call_leave(c);
}

static void on_abort(struct http_exchange *x, const struct adit_err *err)
{
    struct rpc_call *c = http_exchange_user(x);

    (void)err; /* whatever it was, the client is gone */
    call_enter(c);
    (void)call_over(c); /* it has ended by itself */
    if (c->method->on_cancel)
        c->method->on_cancel(c, ADIT_ERR_CANCELED);
    call_leave(c);
}

static void on_deadline(struct net_deadline *d)
{
    struct rpc_call *c = ADIT_CONTAINER_OF(d, struct rpc_call, deadline);
    struct adit_err err = ADIT_ERR_INIT;

    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "context deadline exceeded"); /* only told */
    call_fail(c, &err);
}

/* ---- opening ---- */

static const struct http_exchange_ops exchange_ops = {on_body, on_end, on_drain, on_abort};

const struct rpc_method *rpc_service_find(const struct rpc_service *s, struct adit_view path)
{
    for (size_t i = 0; i < s->method_cnt; i++) {
        if (adit_view_eq_str(path, s->methods[i].path))
            return &s->methods[i];
    }
    return NULL;
}

static void refuse_plain(struct http_exchange *x, unsigned status, enum rpc_kind kind)
{
    int rc = status == 405 ? http_exchange_header_str(x, "Allow", "POST")
                           : http_exchange_header_str(x, "Accept-Post", protocol_accept_post(kind));
    if (rc)
        http_exchange_reset(x);
    else
        http_exchange_reply(x, status, adit_view_mem(NULL, 0));
}

static struct rpc_call *call_new(struct http_exchange *x, const struct rpc_service *s,
                                 const struct rpc_method *m, void *app)
{
    struct rpc_call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->exchange = x;
    c->service = s;
    c->method = m;
    c->app = app;
    c->loop = net_stream_loop(http_exchange_stream(x));
    message_reader_init(&c->reader, &c->request, m->request);
    adit_buf_init(&c->held, 2 * NET_SCRATCH_CAP);
    adit_buf_init(&c->out, RPC_ANSWER_MAX);
    net_deadline_init(&c->deadline, c->loop, on_deadline);
    net_task_init(&c->turn, c->loop, on_turn);
    return c;
}

static void call_open(struct rpc_call *c, const struct http_head *head)
{
    struct adit_err err = ADIT_ERR_INIT;
    int rc = c->request.protocol->read_head(head, &c->request, &err);

    if (!rc && c->service->on_open)
        rc = c->service->on_open(c, head, &err);
    if (rc) {
        call_fail(c, &err);
        return;
    }
    c->state = CALL_READING;
    if (c->request.timeout_ms)
        net_deadline_arm(&c->deadline, c->request.timeout_ms);
}

void rpc_server_handle(struct http_exchange *x, const struct http_head *head,
                       const struct rpc_service *s, const struct rpc_method *m, void *app)
{
    struct protocol_request request;
    unsigned refusal = protocol_negotiate(head, m->kind, &request);

    if (refusal) {
        refuse_plain(x, refusal, m->kind);
        return;
    }
    struct rpc_call *c = call_new(x, s, m, app);
    if (!c) {
        http_exchange_reply(x, rpc_status_http(ADIT_ERR_NO_MEMORY), adit_view_mem(NULL, 0));
        return;
    }
    c->request = request;
    http_exchange_set_ops(x, &exchange_ops, c);
    call_enter(c);
    call_open(c, head);
    call_leave(c);
}

/* ---- what the handler asks ---- */

void *rpc_call_app(const struct rpc_call *c)
{
    return c->app;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *c)
{
    return c->method;
}

void *rpc_call_user(const struct rpc_call *c)
{
    return c->user;
}

void rpc_call_set_user(struct rpc_call *c, void *user)
{
    c->user = user;
}

struct net_loop *rpc_call_loop(const struct rpc_call *c)
{
    return c->loop;
}

uint64_t rpc_call_timeout_ms(const struct rpc_call *c)
{
    return c->request.timeout_ms;
}

bool rpc_call_is_congested(const struct rpc_call *c)
{
    return http_exchange_is_congested(c->exchange);
}
