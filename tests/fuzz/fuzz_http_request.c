/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests. Oracles: the cut does not matter; work is bounded by the input; a head written anew
 * reads the same; what is accepted ends where an independent reader says.
 */
#include "net/http_write.h"

#include "tests/fuzz/http_transcript.h"
#include "tests/fuzz/strict_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_framing(const struct http_transcript *t, struct adit_view bytes)
{
    if (t->status != 0)
        return;
    struct strict_reader r = strict_reader_run(bytes);
    check(!r.broken && r.message_cnt == t->message_cnt && r.body_len == t->body_len);
}

/* The first head, written anew with all its fields, must read the same. */
static void check_round_trip(struct adit_view bytes)
{
    static struct http_head head;
    struct http_transcript first, again;
    struct adit_view body;
    struct adit_buf text;
    enum http_event event;
    struct http_parser *p = http_parser_new(HTTP_REQUEST);
    check(p != NULL);
    if (http_parser_next(p, &bytes, &head, &body, &event, NULL) != ADIT_OK ||
        event != HTTP_EV_HEAD || head.minor == 0) {
        http_parser_free(p);
        return;
    }
    http_transcript_init(&first, HTTP_REQUEST, HTTP_GET);
    http_transcript_init(&again, HTTP_REQUEST, HTTP_GET);
    http_transcript_head(&first, &head);
    adit_buf_init(&text, 2 * HTTP_HEAD_CAP);
    check(http_write_request_line(&text, head.method_text, head.target) == ADIT_OK);
    for (size_t i = 0; i < head.header_cnt; i++)
        check(http_write_header(&text, head.headers[i].name, head.headers[i].value) == ADIT_OK);
    check(http_write_end(&text) == ADIT_OK);
    http_transcript_feed(&again, adit_buf_view(&text));
    check(again.text.len >= first.text.len &&
          memcmp(again.text.data + again.text.off, first.text.data + first.text.off,
                 first.text.len) == 0);
    adit_buf_fini(&text);
    http_transcript_fini(&again);
    http_transcript_fini(&first);
    http_parser_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 0, 16};
    struct adit_view bytes = adit_view_mem(data, size);
    struct http_transcript whole;
    http_transcript_init(&whole, HTTP_REQUEST, HTTP_GET);
    http_transcript_run(&whole, bytes, SIZE_MAX, 0);
    check(whole.steps <= 2 * size);
    check(whole.text.len <= 16 * size + 256);
    check_framing(&whole, bytes);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct http_transcript cut;
        http_transcript_init(&cut, HTTP_REQUEST, HTTP_GET);
        http_transcript_run(&cut, bytes, steps[i], (unsigned)size);
        check(adit_view_eq(adit_buf_view(&whole.text), adit_buf_view(&cut.text)));
        http_transcript_fini(&cut);
    }
    http_transcript_fini(&whole);
    check_round_trip(bytes);
    return 0;
}
