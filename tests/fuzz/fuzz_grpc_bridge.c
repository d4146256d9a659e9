/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's gRPC-Web body on its way to trailers. The first byte says how the rest is cut. Oracles:
 * the cut does not matter; every byte of the input goes to the client or into the trailers; what
 * goes to the client is a row of whole messages when the end is accepted.
 */
#include "tests/fuzz/oracle.h"

#include "broker/edge/edge_frames.h"

#define TRANSCRIPT_CAP (16u * 1024 * 1024)

struct seen {
    struct adit_buf body;
    size_t taken;
    int rc;
    bool is_accepted;
    struct adit_buf trailers;
};

static void run(const uint8_t *data, size_t size, unsigned cut, struct seen *s)
{
    struct edge_frames f;
    struct adit_err err = ADIT_ERR_INIT;

    *s = (struct seen){.rc = 0};
    adit_buf_init(&s->body, TRANSCRIPT_CAP);
    adit_buf_init(&s->trailers, TRANSCRIPT_CAP);
    edge_frames_init(&f);
    while (s->taken < size && s->rc == 0) {
        size_t n = cut ? 1 + (s->taken * 7 + cut) % cut : size;
        struct adit_view in =
            adit_view_mem(data + s->taken, n < size - s->taken ? n : size - s->taken);
        size_t before = in.len;

        while (in.len > 0 && s->rc == 0) {
            struct adit_view body;
            size_t left = in.len;

            s->rc = edge_frames_next(&f, &in, &body, &err);
            ORACLE(s->rc != 0 || in.len < left);
            ORACLE(s->rc != 0 || adit_buf_append_view(&s->body, body) == 0);
        }
        s->taken += before - in.len;
    }
    s->is_accepted = s->rc == 0 && edge_frames_end(&f, &err) == 0;
    ORACLE(adit_buf_append_view(&s->trailers, edge_frames_trailers(&f)) == 0);
    edge_frames_fini(&f);
}

static void check_messages(struct adit_view body)
{
    const unsigned char *p = (const unsigned char *)body.ptr;
    size_t at = 0;

    while (at < body.len) {
        ORACLE(body.len - at >= EDGE_FRAMES_PREFIX && p[at] <= 1);
        size_t len =
            (size_t)p[at + 1] << 24 | (size_t)p[at + 2] << 16 | (size_t)p[at + 3] << 8 | p[at + 4];
        at += EDGE_FRAMES_PREFIX;
        ORACLE(len <= body.len - at);
        at += len;
    }
}

static void check_trailers(struct adit_view rest)
{
    struct adit_view name, value;
    size_t before = rest.len + 1;

    while (edge_frames_trailer(&rest, &name, &value)) {
        ORACLE(rest.len < before);
        ORACLE(memchr(name.ptr, '\n', name.len) == NULL);
        ORACLE(value.len == 0 || memchr(value.ptr, '\n', value.len) == NULL);
        before = rest.len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, pieces;

    if (size == 0)
        return 0;
    run(data + 1, size - 1, 0, &whole);
    run(data + 1, size - 1, 1u + data[0], &pieces);
    ORACLE(whole.rc == pieces.rc && whole.is_accepted == pieces.is_accepted);
    ORACLE(adit_view_eq(adit_buf_view(&whole.body), adit_buf_view(&pieces.body)));
    ORACLE(whole.rc != 0 ||
           adit_view_eq(adit_buf_view(&whole.trailers), adit_buf_view(&pieces.trailers)));
    if (whole.is_accepted) {
        ORACLE(whole.body.len + EDGE_FRAMES_PREFIX + whole.trailers.len == size - 1);
        check_messages(adit_buf_view(&whole.body));
        check_trailers(adit_buf_view(&whole.trailers));
    }
    adit_buf_fini(&whole.body);
    adit_buf_fini(&whole.trailers);
    adit_buf_fini(&pieces.body);
    adit_buf_fini(&pieces.trailers);
    return 0;
}
