/* SPDX-License-Identifier: Apache-2.0 */
/* Replies, as they are and as replies to HEAD. Oracles: the cut does not matter; bounded work. */
#include "tests/fuzz/http_transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(struct adit_view bytes, enum http_method method)
{
    static const size_t steps[] = {1, 0, 16};
    struct http_transcript whole;
    http_transcript_init(&whole, HTTP_RESPONSE, method);
    http_transcript_run(&whole, bytes, SIZE_MAX, 0);
    if (whole.steps > 2 * bytes.len || whole.text.len > 16 * bytes.len + 256)
        abort();
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct http_transcript cut;
        http_transcript_init(&cut, HTTP_RESPONSE, method);
        http_transcript_run(&cut, bytes, steps[i], (unsigned)bytes.len);
        if (!adit_view_eq(adit_buf_view(&whole.text), adit_buf_view(&cut.text)))
            abort();
        http_transcript_fini(&cut);
    }
    http_transcript_fini(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_reply(adit_view_mem(data, size), HTTP_GET);
    check_reply(adit_view_mem(data, size), HTTP_HEAD);
    return 0;
}
