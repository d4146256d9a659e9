/* SPDX-License-Identifier: Apache-2.0 */
/* Unary Connect calls with binary protobuf. */
/*
 * Theory of operation
 *
 * What     One POST per call: the packed message as body, the packed answer or a JSON error back.
 * States   SENDING (pieces of the body as the connection takes them) → WAITING for head and body →
 *          done. The deadline runs over all of it.
 * Ownership The call owns its http_call until that ends. It is freed after its callback, or by
 *          rpc_client_cancel().
 * Limits   RPC_CLIENT_ANSWER_MAX bytes of answer.
 * Trust    The peer is one of our programs, but its bytes are checked as anybody's.
 * Failure  One way out: finish(). A connection that breaks is UNAVAILABLE: nobody knows whether the
 *          call was carried out, and nothing is sent twice.
 */
#include "rpc/rpc_client.h"

#include <stdlib.h>

#include "net/http_write.h"
#include "rpc/connect.h"
#include "rpc/message.h"
#include "rpc/status.h"

#define HEAD_CAP 1024
#define PIECE_LEN (64u * 1024)

/*
 * @body, @sent: the request, and how much of it is on its way
 * @status:      of the reply
 */
struct rpc_client_call {
    struct http_call *http;
    const ProtobufCMessageDescriptor *response;
    rpc_client_fn on_done;
    void *user;
    struct net_deadline deadline;
    struct adit_buf body, answer;
    size_t sent;
    unsigned status;
};

static void call_free(struct rpc_client_call *c)
{
    net_deadline_cancel(&c->deadline);
    adit_buf_fini(&c->body);
    adit_buf_fini(&c->answer);
    free(c);
}

/* The call is over; its http_call has ended already. */
static void finish(struct rpc_client_call *c, const ProtobufCMessage *answer,
                   const struct adit_err *err)
{
    rpc_client_fn on_done = c->on_done;
    void *user = c->user;
    call_free(c);
    on_done(user, answer, err);
}

static void fail(struct rpc_client_call *c, int code, const char *message)
{
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, code, "%s", message); /* only told */
    http_call_cancel(c->http);
    finish(c, NULL, &err);
}

/* ---- the request ---- */

/* Send what the connection takes; the first piece also before it stands, so that it leaves with the
 * head. Errors: NO_MEMORY, LIMIT. CLOSED is told by on_fail. */
static int send_more(struct rpc_client_call *c)
{
    while (c->sent < c->body.len && (!c->sent || !http_call_is_congested(c->http))) {
        struct adit_view piece = adit_buf_view(&c->body);
        piece.ptr += c->sent;
        piece.len -= c->sent;
        if (piece.len > PIECE_LEN)
            piece.len = PIECE_LEN;
        int rc = http_call_write_body(c->http, piece);
        if (rc)
            return rc == ADIT_ERR_CLOSED ? 0 : rc;
        c->sent += piece.len;
        if (c->sent == c->body.len)
            http_call_end_body(c->http);
    }
    return 0;
}

static void on_drain(struct http_call *http)
{
    struct rpc_client_call *c = http_call_user(http);
    int rc = send_more(c);
    if (rc)
        fail(c, rc, "the request cannot be sent");
}

/* ---- the answer ---- */

static void on_head(struct http_call *http, const struct http_head *head)
{
    struct rpc_client_call *c = http_call_user(http);
    c->status = head->status;
    if (head->status == 200 &&
        !adit_view_ieq_str(http_head_get(head, "Content-Type"), "application/proto"))
        fail(c, ADIT_ERR_PROTOCOL, "the answer is not application/proto");
}

static void on_body(struct http_call *http, struct adit_view bytes)
{
    struct rpc_client_call *c = http_call_user(http);
    int rc = adit_buf_append_view(&c->answer, bytes);
    if (rc)
        fail(c, rc, "the answer is too large");
}

static void finish_error(struct rpc_client_call *c)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (connect_parse_error(adit_buf_view(&c->answer), &err))
        (void)adit_err_set(&err, rpc_status_from_http(c->status), "HTTP status %u",
                           c->status); /* only told */
    finish(c, NULL, &err);
}

static void on_end(struct http_call *http)
{
    struct rpc_client_call *c = http_call_user(http);
    struct adit_err err = ADIT_ERR_INIT;

    if (c->status != 200) {
        finish_error(c);
        return;
    }
    struct adit_view bytes = adit_buf_view(&c->answer);
    ProtobufCMessage *answer =
        protobuf_c_message_unpack(c->response, NULL, bytes.len, (const uint8_t *)bytes.ptr);
    if (!answer)
        (void)adit_err_set(&err, ADIT_ERR_PROTOCOL,
                           "the answer is not a valid message"); /* only told */
    finish(c, answer, answer ? NULL : &err);
    protobuf_c_message_free_unpacked(answer, NULL);
}

static void on_fail(struct http_call *http, const struct adit_err *err)
{
    struct rpc_client_call *c = http_call_user(http);
    struct adit_err told = *err;
    if (told.code == ADIT_ERR_CLOSED)
        told.code = ADIT_ERR_UNAVAILABLE;
    finish(c, NULL, &told);
}

static void on_deadline(struct net_deadline *d)
{
    struct rpc_client_call *c = ADIT_CONTAINER_OF(d, struct rpc_client_call, deadline);
    fail(c, ADIT_ERR_TIMEOUT, "no answer in time");
}

static const struct http_call_ops call_ops = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_fail = on_fail,
};

/* ---- starting ---- */

static int write_head(struct adit_buf *b, const char *path, size_t body_len, uint64_t timeout_ms)
{
    static const struct adit_view post = ADIT_VIEW("POST");
    int rc = http_write_request_line(b, post, adit_view_str(path));
    if (!rc)
        rc = http_write_header_str(b, "Host", "localhost");
    if (!rc)
        rc = http_write_header_str(b, "Content-Type", "application/proto");
    if (!rc)
        rc = http_write_header_str(b, "Connect-Protocol-Version", "1");
    if (!rc && timeout_ms)
        rc = http_write_header_u64(b, "Connect-Timeout-Ms", timeout_ms);
    if (!rc)
        rc = http_write_header_u64(b, "Content-Length", body_len);
    return rc ? rc : http_write_end(b);
}

static int start_http(struct rpc_client_call *c, struct http_pool *p, const char *path,
                      uint64_t timeout_ms, struct adit_err *err)
{
    struct adit_buf head;
    adit_buf_init(&head, HEAD_CAP);
    int rc = write_head(&head, path, c->body.len, timeout_ms);
    if (rc)
        (void)adit_err_set(err, rc, "request head"); /* rc is the answer */
    else
        rc = http_call_start(p, HTTP_POST, false, adit_buf_view(&head),
                             c->body.len ? HTTP_BODY_LENGTH : HTTP_BODY_NONE, &call_ops, c,
                             &c->http, err);
    adit_buf_fini(&head);
    return rc;
}

static struct rpc_client_call *call_new(struct http_pool *p,
                                        const ProtobufCMessageDescriptor *response,
                                        rpc_client_fn on_done, void *user)
{
    struct rpc_client_call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->response = response;
    c->on_done = on_done;
    c->user = user;
    adit_buf_init(&c->body, RPC_MESSAGE_MAX);
    adit_buf_init(&c->answer, RPC_CLIENT_ANSWER_MAX);
    net_deadline_init(&c->deadline, http_pool_loop(p), on_deadline);
    return c;
}

int rpc_client_start(struct http_pool *p, const char *path, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, uint64_t timeout_ms,
                     rpc_client_fn on_done, void *user, struct rpc_client_call **out,
                     struct adit_err *err)
{
    struct rpc_client_call *c = call_new(p, response, on_done, user);
    if (!c)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "rpc call");
    int rc = message_append(RPC_PROTO, request, &c->body);
    if (rc)
        (void)adit_err_set(err, rc, "the request is too large"); /* rc is the answer */
    else
        rc = start_http(c, p, path, timeout_ms, err);
    if (!rc) {
        rc = send_more(c);
        if (rc)
            http_call_cancel(c->http);
    }
    if (rc) {
        call_free(c);
        return rc;
    }
    if (timeout_ms)
        net_deadline_arm(&c->deadline, timeout_ms);
    if (out)
        *out = c;
    return 0;
}

void rpc_client_cancel(struct rpc_client_call *c)
{
    http_call_cancel(c->http);
    call_free(c);
}
