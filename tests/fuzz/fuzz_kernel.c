/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cell may write to its kernel's channel, as envd reads it: frames, then lines for the
 * client. The first byte says how the rest is cut. Oracles: the cut does not matter to the frames;
 * every line is ASCII with one newline, at its end, and a whole JSON object.
 */
#include "tests/fuzz/oracle.h"

#include "envd/kernel/kernel_line.h"
#include "envd/kernel/kernel_message.h"
#include "rpc/jsontext.h"

#define TRANSCRIPT_CAP (64u * 1024 * 1024)

static void check_lines(struct adit_view lines)
{
    struct adit_view line;
    while (lines.len > 0) {
        struct jsontext t;
        ORACLE(adit_view_split(lines, '\n', &line, &lines));
        for (size_t i = 0; i < line.len; i++)
            ORACLE(line.ptr[i] >= 0x20 && line.ptr[i] < 0x7F);
        jsontext_init(&t, line, NULL);
        ORACLE(jsontext_peek(&t) == '{' && jsontext_skip(&t, 0) == ADIT_OK && t.p == t.end);
    }
}

static void put_line(const struct kernel_message *m, struct kernel_line_tail *tail)
{
    struct adit_buf out;
    adit_buf_init(&out, TRANSCRIPT_CAP);
    if (m->kind == KERNEL_NEWS_RESULT || m->kind == KERNEL_NEWS_ERROR)
        ORACLE(kernel_line_object(&out, "result", m->body) == ADIT_OK);
    else
        ORACLE(kernel_line_text(&out, "stdout", m->body, tail) == ADIT_OK);
    ORACLE(tail->len <= KERNEL_LINE_TAIL_CAP);
    ORACLE(out.len <= 6 * (m->body.len + KERNEL_LINE_TAIL_CAP) + 128);
    check_lines(adit_buf_view(&out));
    adit_buf_fini(&out);
}

/* What one reading saw: kinds and bodies, then the code or what is left. */
static void run(const uint8_t *data, size_t size, unsigned cut, struct adit_buf *seen)
{
    struct adit_buf in;
    struct kernel_message m;
    struct kernel_line_tail tail = {.len = 0};
    int rc = ADIT_OK;
    adit_buf_init(&in, TRANSCRIPT_CAP);
    adit_buf_init(seen, TRANSCRIPT_CAP);
    for (size_t at = 0; at < size && !rc;) {
        size_t n = cut ? 1 + (at * 7 + cut) % cut : size, len = 1, need = 0;
        n = n < size - at ? n : size - at;
        ORACLE(adit_buf_append(&in, data + at, n) == ADIT_OK);
        at += n;
        while (len > 0 && !rc) {
            rc = kernel_message_next(adit_buf_view(&in), &m, &len, &need, NULL);
            if (rc || len == 0)
                break;
            ORACLE(len <= in.len && m.body.len < len && need == 0);
            ORACLE(adit_buf_appendf(seen, "%c %zu ", m.kind, m.body.len) == ADIT_OK);
            ORACLE(adit_buf_append_view(seen, m.body) == ADIT_OK);
            put_line(&m, &tail);
            adit_buf_consume(&in, len);
        }
    }
    ORACLE(adit_buf_appendf(seen, "end %d %zu", rc, rc ? 0 : in.len) == ADIT_OK);
    adit_buf_fini(&in);
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
