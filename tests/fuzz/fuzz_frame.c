/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envelopes. The first byte says how the rest is cut: the same envelopes, or the same error, come
 * out of the whole and of the pieces.
 */
#include "tests/fuzz/oracle.h"

#include "rpc/frame.h"

#define TRANSCRIPT_CAP (16u * 1024 * 1024)

/* What one reading saw: flags and payloads, then the code or whether an envelope is open. */
static void run(const uint8_t *data, size_t size, unsigned cut, struct adit_buf *seen)
{
    struct frame_reader r;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = 0;

    adit_buf_init(seen, TRANSCRIPT_CAP);
    frame_reader_init(&r, FRAME_PAYLOAD_MAX);
    for (size_t at = 0; at < size && !rc;) {
        size_t n = cut ? 1 + (at * 7 + cut) % cut : size;
        struct adit_view in = adit_view_mem(data + at, n < size - at ? n : size - at), payload;
        bool complete = true;
        uint8_t flags;
        at += in.len;
        while (!rc && complete) {
            rc = frame_read(&r, &in, &complete, &flags, &payload, &err);
            if (!rc && complete)
                ORACLE(adit_buf_appendf(seen, "%d %zu ", flags, payload.len) == 0 &&
                       adit_buf_append_view(seen, payload) == 0);
        }
        ORACLE(rc || in.len == 0);
        ORACLE(r.partial.cap <= 2 * size + 512); /* a length that is a lie costs nothing */
    }
    ORACLE(adit_buf_appendf(seen, "end %d %d", rc, !rc && frame_reader_is_idle(&r)) == 0);
    frame_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_buf whole, pieces;
    if (size == 0)
        return 0;
    run(data + 1, size - 1, 0, &whole);
    run(data + 1, size - 1, 1u + data[0], &pieces);
    ORACLE(adit_view_eq(adit_buf_view(&whole), adit_buf_view(&pieces)));
    adit_buf_fini(&whole);
    adit_buf_fini(&pieces);
    return 0;
}
