/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a gRPC-Web answer, cut into messages and trailers.
 *
 * Theory of operation
 *
 *   PREFIX ──5 bytes──> message ──payload──> PREFIX
 *      └──flag 0x80──> trailers ──payload──> ended
 *
 * Whole messages that lie in the input one behind the other are one piece.
 */
#include "broker/edge/edge_frames.h"

#define FLAG_COMPRESSED 0x01
#define FLAG_TRAILERS 0x80

void edge_frames_init(struct edge_frames *f)
{
    *f = (struct edge_frames){.prefix_len = 0};
    adit_buf_init(&f->trailers, EDGE_FRAMES_TRAILERS_MAX);
}

void edge_frames_fini(struct edge_frames *f)
{
    adit_buf_fini(&f->trailers);
}

static struct adit_view take(struct adit_view *in, size_t len)
{
    struct adit_view taken = {in->ptr, len};

    in->ptr += len;
    in->len -= len;
    return taken;
}

static bool is_message(unsigned char flags)
{
    return (flags & ~FLAG_COMPRESSED) == 0;
}

static uint32_t length_of(const unsigned char *prefix)
{
    return (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 | (uint32_t)prefix[3] << 8 |
           prefix[4];
}

/* How many bytes at the front are messages' for certain. */
static size_t message_run(struct edge_frames *f, struct adit_view in)
{
    const unsigned char *p = (const unsigned char *)in.ptr;
    size_t run = 0;

    for (;;) {
        size_t part = f->left < in.len - run ? f->left : in.len - run;

        f->left -= (uint32_t)part;
        run += part;
        if (f->left > 0 || in.len - run < EDGE_FRAMES_PREFIX || !is_message(p[run]))
            return run;
        f->left = length_of(p + run);
        run += EDGE_FRAMES_PREFIX;
    }
}

/* A prefix that came in pieces, or that begins something else than a message. */
static int take_prefix(struct edge_frames *f, struct adit_view *in, struct adit_view *body,
                       struct adit_err *err)
{
    size_t want = EDGE_FRAMES_PREFIX - f->prefix_len;
    struct adit_view part = take(in, in->len < want ? in->len : want);

    memcpy(f->prefix + f->prefix_len, part.ptr, part.len);
    f->prefix_len += part.len;
    if (f->prefix_len < EDGE_FRAMES_PREFIX)
        return ADIT_OK;
    f->prefix_len = 0;
    f->left = length_of(f->prefix);
    if (is_message(f->prefix[0])) {
        *body = adit_view_mem(f->prefix, EDGE_FRAMES_PREFIX);
        return ADIT_OK;
    }
    if (f->prefix[0] != FLAG_TRAILERS)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "unknown flags 0x%02x", f->prefix[0]);
    if (f->left > EDGE_FRAMES_TRAILERS_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "trailers of %u bytes", f->left);
    f->in_trailers = true;
    f->is_ended = f->left == 0;
    return ADIT_OK;
}

static int take_trailers(struct edge_frames *f, struct adit_view *in, struct adit_err *err)
{
    if (f->is_ended)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "bytes behind the trailers");
    struct adit_view part = take(in, in->len < f->left ? in->len : f->left);

    f->left -= (uint32_t)part.len;
    f->is_ended = f->left == 0;
    if (adit_buf_append_view(&f->trailers, part) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for trailers");
    return ADIT_OK;
}

int edge_frames_next(struct edge_frames *f, struct adit_view *in, struct adit_view *body,
                     struct adit_err *err)
{
    int rc = ADIT_OK;

    *body = adit_view_mem(NULL, 0);
    while (in->len > 0 && body->len == 0 && rc == ADIT_OK) {
        size_t run = f->in_trailers || f->prefix_len > 0 ? 0 : message_run(f, *in);

        if (run > 0)
            *body = take(in, run);
        else if (f->in_trailers)
            rc = take_trailers(f, in, err);
        else
            rc = take_prefix(f, in, body, err);
    }
    return rc;
}

static bool is_status(struct adit_view value)
{
    uint64_t n;

    return adit_view_u64(value, EDGE_FRAMES_STATUS_MAX, &n) == ADIT_OK;
}

int edge_frames_end(const struct edge_frames *f, struct adit_err *err)
{
    struct adit_view rest = edge_frames_trailers(f), name, value;
    unsigned status_cnt = 0;

    if (!f->is_ended)
        return adit_err_set(err, ADIT_ERR_PROTOCOL, "an end before the trailers");
    while (edge_frames_trailer(&rest, &name, &value)) {
        if (!adit_view_ieq_str(name, "grpc-status"))
            continue;
        if (!is_status(value))
            return adit_err_set(err, ADIT_ERR_PROTOCOL, "malformed grpc-status");
        status_cnt++;
    }
    return status_cnt == 1 ? ADIT_OK : adit_err_set(err, ADIT_ERR_PROTOCOL, "not one grpc-status");
}

struct adit_view edge_frames_trailers(const struct edge_frames *f)
{
    return adit_buf_view(&f->trailers);
}

bool edge_frames_trailer(struct adit_view *rest, struct adit_view *name, struct adit_view *value)
{
    struct adit_view line = {NULL, 0};

    while (rest->len > 0 && line.len == 0) {
        adit_view_split(*rest, '\n', &line, rest);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
    }
    if (line.len == 0)
        return false;
    adit_view_split(line, ':', name, value);
    *value = adit_view_trim(*value);
    return true;
}
