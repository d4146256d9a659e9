/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of a kernel's channel.
 *
 * Theory of operation
 *
 * What:   finds the first frame in the bytes that have come, and writes frames. It keeps nothing:
 * the caller gives the same bytes again with more behind them.
 * Trust:  JSON goes on to the client inside a line of ours, so it must be one whole object, in
 * ASCII and without a control character: no frame can end the line, or begin another one.
 * Limits: KERNEL_MESSAGE_HEAD_CAP for the head, KERNEL_MESSAGE_MAX for the body,
 * JSONTEXT_DEPTH_MAX.
 */
#include "envd/kernel/kernel_message.h"

#include "rpc/jsontext.h"

static const char kinds[] = {KERNEL_NEWS_READY, KERNEL_NEWS_STDOUT, KERNEL_NEWS_STDERR,
                             KERNEL_NEWS_PIPES, KERNEL_NEWS_WAITS,  KERNEL_NEWS_RESULT,
                             KERNEL_NEWS_ERROR, KERNEL_NEWS_DONE};

static int refuse(struct adit_err *err, const char *what)
{
    return adit_err_set(err, ADIT_ERR_PROTOCOL, "%s", what);
}

static int read_head(struct adit_view head, struct kernel_message *out, uint64_t *body_len,
                     struct adit_err *err)
{
    if (head.len < 3 || !memchr(kinds, head.ptr[0], sizeof kinds) || head.ptr[1] != ' ')
        return refuse(err, "not a frame");
    out->kind = (enum kernel_news)head.ptr[0];
    if (adit_view_u64(adit_view_mem(head.ptr + 2, head.len - 2), KERNEL_MESSAGE_MAX, body_len))
        return refuse(err, "not a length");
    return ADIT_OK;
}

static int check_object(struct adit_view body, struct adit_err *err)
{
    struct jsontext t;
    bool begins = body.len == 2 || (body.len > 2 && body.ptr[1] == '"'); /* no space before it */
    for (size_t i = 0; i < body.len; i++)
        if (body.ptr[i] < 0x20 || body.ptr[i] == 0x7F)
            return refuse(err, "not one line of ASCII");
    jsontext_init(&t, body, NULL);
    if (!begins || jsontext_peek(&t) != '{' || jsontext_skip(&t, 0) != ADIT_OK || t.p != t.end)
        return refuse(err, "not a JSON object");
    return ADIT_OK;
}

static int check_body(const struct kernel_message *m, struct adit_err *err)
{
    switch (m->kind) {
    case KERNEL_NEWS_RESULT:
    case KERNEL_NEWS_ERROR:
        return check_object(m->body, err);
    case KERNEL_NEWS_STDOUT:
    case KERNEL_NEWS_STDERR:
        return ADIT_OK;
    default:
        return m->body.len == 0 ? ADIT_OK : refuse(err, "a body where none belongs");
    }
}

int kernel_message_next(struct adit_view in, struct kernel_message *out, size_t *len, size_t *need,
                        struct adit_err *err)
{
    uint64_t body_len;
    size_t seen = in.len < KERNEL_MESSAGE_HEAD_CAP ? in.len : KERNEL_MESSAGE_HEAD_CAP;
    const char *end = seen > 0 ? memchr(in.ptr, '\n', seen) : NULL;
    *len = *need = 0;
    if (!end)
        return seen < KERNEL_MESSAGE_HEAD_CAP ? ADIT_OK : refuse(err, "a head without end");
    size_t head_len = (size_t)(end - in.ptr);
    int code = read_head(adit_view_mem(in.ptr, head_len), out, &body_len, err);
    if (code != ADIT_OK)
        return code;
    size_t whole = head_len + 1 + (size_t)body_len;
    if (in.len < whole) {
        *need = whole - in.len;
        return ADIT_OK;
    }
    out->body = adit_view_mem(end + 1, (size_t)body_len);
    *len = whole;
    return check_body(out, err);
}

int kernel_message_put(struct adit_buf *out, enum kernel_order kind, struct adit_view body)
{
    size_t before = out->len;
    int code = adit_buf_appendf(out, "%c %zu\n", kind, body.len);
    if (code == ADIT_OK)
        code = adit_buf_append_view(out, body);
    if (code != ADIT_OK)
        out->len = before;
    return code;
}
