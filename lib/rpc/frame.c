/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes of Connect's streams, of gRPC-Web and of the control channel. */
/*
 * Theory of operation
 *
 * What     Cuts a byte stream into envelopes. One that lies whole in the input is not copied; one
 *          that arrives in pieces is gathered in the reader, head and payload.
 * States   partial empty (between envelopes) → partial holds head and payload so far → whole:
 * handed out as a view of partial, which is emptied by the next call. Limits   the reader's
 * maximum, checked as soon as the five head bytes are there, so a length that is a lie costs
 * nothing. Trust All bytes are hostile. After an error the reader is not used any more.
 */
#include "rpc/frame.h"

#define KNOWN_FLAGS (FRAME_FLAG_COMPRESSED | FRAME_FLAG_END | FRAME_FLAG_TRAILERS)

void frame_reader_init(struct frame_reader *r, size_t max)
{
    r->max = max;
    r->handed_out = false;
    adit_buf_init(&r->partial, FRAME_HEAD_LEN + max);
}

void frame_reader_fini(struct frame_reader *r)
{
    adit_buf_fini(&r->partial);
}

bool frame_reader_is_idle(const struct frame_reader *r)
{
    return r->handed_out || r->partial.len == 0;
}

static size_t payload_len(const char *head)
{
    const unsigned char *h = (const unsigned char *)head + 1;
    return (size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];
}

static int check_head(const struct frame_reader *r, const char *head, struct adit_err *err)
{
    if ((unsigned char)head[0] & ~(unsigned)KNOWN_FLAGS)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "protocol error: unknown flags 0x%02x in an envelope",
                            (unsigned)(unsigned char)head[0]);
    if (payload_len(head) > r->max)
        return adit_err_set(err, ADIT_ERR_LIMIT, "message size %zu is larger than the maximum %zu",
                            payload_len(head), r->max);
    return 0;
}

/* Move bytes from the input until @want are held. Return: 0 also when the input ended before. */
static int gather(struct frame_reader *r, struct adit_view *in, size_t want, struct adit_err *err)
{
    if (r->partial.len >= want)
        return 0;
    size_t n = want - r->partial.len;
    if (n > in->len)
        n = in->len;
    int rc = adit_buf_append(&r->partial, in->ptr, n);
    if (rc)
        return adit_err_set(err, rc, "no memory for an envelope");
    in->ptr += n;
    in->len -= n;
    return 0;
}

static void hand_out(const char *head, uint8_t *flags, struct adit_view *payload)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a whole envelope is there */
    *flags = (uint8_t)head[0];
    *payload = adit_view_mem(head + FRAME_HEAD_LEN, payload_len(head));
}

static int read_in_place(const struct frame_reader *r, struct adit_view *in, bool *complete,
                         uint8_t *flags, struct adit_view *payload, struct adit_err *err)
{
    int rc = check_head(r, in->ptr, err);
    if (rc)
        return rc;
    size_t whole = FRAME_HEAD_LEN + payload_len(in->ptr);
    if (in->len < whole)
        return 0;
    hand_out(in->ptr, flags, payload);
    in->ptr += whole;
    in->len -= whole;
    *complete = true;
    return 0;
}

int frame_read(struct frame_reader *r, struct adit_view *in, bool *complete, uint8_t *flags,
               struct adit_view *payload, struct adit_err *err)
{
    *complete = false;
    if (r->handed_out) {
        r->handed_out = false;
        adit_buf_consume(&r->partial, r->partial.len);
    }
    if (r->partial.len == 0 && in->len >= FRAME_HEAD_LEN) {
        int rc = read_in_place(r, in, complete, flags, payload, err);
        if (rc || *complete)
            return rc;
    }
    int rc = gather(r, in, FRAME_HEAD_LEN, err);
    if (rc || r->partial.len < FRAME_HEAD_LEN)
        return rc;
    const char *head = adit_buf_view(&r->partial).ptr;
    rc = check_head(r, head, err);
    if (rc)
        return rc;
    size_t whole = FRAME_HEAD_LEN + payload_len(head);
    rc = gather(r, in, whole, err);
    if (rc || r->partial.len < whole)
        return rc;
    hand_out(adit_buf_view(&r->partial).ptr, flags, payload);
    r->handed_out = *complete = true;
    return 0;
}

void frame_write_head(char out[FRAME_HEAD_LEN], uint8_t flags, size_t len)
{
    out[0] = (char)flags;
    out[1] = (char)(len >> 24 & 255);
    out[2] = (char)(len >> 16 & 255);
    out[3] = (char)(len >> 8 & 255);
    out[4] = (char)(len & 255);
}

int frame_begin(struct adit_buf *out)
{
    static const char room[FRAME_HEAD_LEN];
    return adit_buf_append(out, room, sizeof room);
}

void frame_finish(struct adit_buf *out, size_t start, uint8_t flags)
{
    size_t len = out->len - start;
    /* The bytes stay where they are. */
    frame_write_head(adit_buf_tail(out) - len, flags, len - FRAME_HEAD_LEN);
}
