/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart bodies: the first line is the content type's parameters, the rest the body. Oracles:
 * one cut at any place and a cut after every byte give the same events; data is never more than the
 * input.
 */
#include "tests/fuzz/multipart_transcript.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cut(const struct multipart_transcript *whole, struct adit_view type,
                      struct adit_view body, size_t cut, size_t step)
{
    struct multipart_transcript t;
    multipart_transcript_run(&t, type, body, cut, step);
    if (!adit_view_eq(adit_buf_view(&whole->text), adit_buf_view(&t.text)) || t.code != whole->code)
        abort();
    multipart_transcript_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_view line, body;
    char type[256];
    if (!adit_view_split(adit_view_mem(data, size), '\n', &line, &body) || line.len > 200)
        return 0;
    int len = snprintf(type, sizeof(type), "multipart/form-data;%.*s", ADIT_VIEW_ARG(line));
    struct adit_view content_type = adit_view_mem(type, (size_t)len);
    struct multipart_transcript whole;
    multipart_transcript_run(&whole, content_type, body, SIZE_MAX, SIZE_MAX);
    if (whole.data_len > body.len)
        abort();
    size_t stride = body.len / 64 + 1;
    for (size_t cut = 0; cut < body.len; cut += stride)
        check_cut(&whole, content_type, body, cut, SIZE_MAX);
    check_cut(&whole, content_type, body, 1, 1);
    check_cut(&whole, content_type, body, 3, 7);
    multipart_transcript_fini(&whole);
    return 0;
}
