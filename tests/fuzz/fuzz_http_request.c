/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests. Oracles: the cut does not matter; work is bounded by the input; a head written anew
 * reads the same; what is accepted ends where an independent reader says; and a parser that is not
 * strict makes the same requests of it.
 */
#include "net/http_write.h"

#include "tests/fuzz/http_transcript.h"
#include "tests/fuzz/lenient_reader.h"
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

static uint64_t digest_part(uint64_t h, struct adit_view part)
{
    for (size_t i = 0; i < part.len; i++)
        h = lenient_digest(h, part.ptr[i] == '\t' ? " " : part.ptr + i, 1);
    return lenient_digest_end(h);
}

static uint64_t digest_head(const struct http_head *head)
{
    uint64_t h = digest_part(digest_part(0, head->method_text), head->target);
    for (size_t i = 0; i < head->header_cnt; i++)
        h = digest_part(digest_part(h, head->headers[i].name), head->headers[i].value);
    return h;
}

/* The messages that our parser ends, as lenient_reader_run() tells them. Return: whether the bytes
 * are these messages and nothing else. */
static bool read_strictly(struct adit_view bytes, struct lenient_reader *out)
{
    static struct http_head head;
    struct http_parser *p = http_parser_new(HTTP_REQUEST);
    struct lenient_message now = {0};
    enum http_event event = HTTP_EV_HEAD;
    struct adit_view body;
    int rc = 0;
    check(p != NULL);
    out->message_cnt = 0;
    while (event != HTTP_EV_MORE && out->message_cnt < LENIENT_MESSAGES_MAX) {
        rc = http_parser_next(p, &bytes, &head, &body, &event, NULL);
        if (rc != ADIT_OK)
            break;
        if (event == HTTP_EV_HEAD)
            now = (struct lenient_message){.digest = digest_head(&head)};
        if (event == HTTP_EV_BODY) {
            now.digest = lenient_digest(now.digest, body.ptr, body.len);
            now.body_len += body.len;
        }
        if (event == HTTP_EV_END)
            out->messages[out->message_cnt++] = now;
    }
    bool is_whole = rc == ADIT_OK && http_parser_eof(p, &event, NULL) == ADIT_OK;
    http_parser_free(p);
    return is_whole;
}

/* What both take for a whole request is the same one. */
static void check_against_lenient(struct adit_view bytes)
{
    static struct lenient_reader ours, theirs;
    bool is_whole = read_strictly(bytes, &ours);
    lenient_reader_run(bytes.ptr, bytes.len, &theirs);
    for (size_t i = 0; i < ours.message_cnt && i < theirs.message_cnt; i++)
        check(ours.messages[i].digest == theirs.messages[i].digest &&
              ours.messages[i].body_len == theirs.messages[i].body_len);
    if (is_whole && !theirs.is_refused && !theirs.is_upgrade)
        check(ours.message_cnt == theirs.message_cnt);
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
    check_against_lenient(bytes);
    return 0;
}
