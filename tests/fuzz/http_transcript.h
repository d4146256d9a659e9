/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a parser makes of some bytes, as one text: for unit tests, and for the fuzz oracle that the
 * same bytes cut in another way give the same events.
 */
#ifndef ADIT_TESTS_HTTP_TRANSCRIPT_H
#define ADIT_TESTS_HTTP_TRANSCRIPT_H

#include "net/http_msg.h"

#include <stdlib.h>

/*
 * @text:         heads in full, body bytes joined, ends, the final error code
 * @message_cnt:  ended messages; @body_len: body bytes of all of them
 * @status:       of the refusal, or 0
 * @steps:        calls that yielded an event
 */
struct http_transcript {
    struct adit_buf text;
    struct http_parser *parser;
    unsigned message_cnt, status;
    size_t body_len, steps;
    bool in_body;
};

static inline void http_transcript_must(int rc)
{
    if (rc != ADIT_OK)
        abort();
}

static inline void http_transcript_init(struct http_transcript *t, enum http_kind kind,
                                        enum http_method request_method)
{
    *t = (struct http_transcript){.parser = http_parser_new(kind)};
    adit_buf_init(&t->text, 64u * 1024 * 1024);
    if (!t->parser)
        abort();
    http_parser_set_request_method(t->parser, request_method);
}

static inline void http_transcript_fini(struct http_transcript *t)
{
    adit_buf_fini(&t->text);
    http_parser_free(t->parser);
}

static inline void http_transcript_head(struct http_transcript *t, const struct http_head *h)
{
    http_transcript_must(adit_buf_appendf(
        &t->text, "HEAD %.*s(%d) %.*s %u 1.%u length=%llu%s%s%s%s%s\n",
        ADIT_VIEW_ARG(h->method_text), (int)h->method, ADIT_VIEW_ARG(h->target), h->status,
        h->minor, (unsigned long long)h->content_length, h->has_content_length ? " length" : "",
        h->chunked ? " chunked" : "", h->keep_alive ? " keep" : "", h->upgrade ? " upgrade" : "",
        h->expect_continue ? " expect" : ""));
    for (size_t i = 0; i < h->header_cnt; i++)
        http_transcript_must(adit_buf_appendf(&t->text, "  %.*s: %.*s\n",
                                              ADIT_VIEW_ARG(h->headers[i].name),
                                              ADIT_VIEW_ARG(h->headers[i].value)));
}

static inline void http_transcript_event(struct http_transcript *t, enum http_event event,
                                         const struct http_head *head, struct adit_view body)
{
    t->steps++;
    if (t->in_body && event != HTTP_EV_BODY)
        http_transcript_must(adit_buf_append_str(&t->text, "]\n"));
    if (!t->in_body && event == HTTP_EV_BODY)
        http_transcript_must(adit_buf_append_str(&t->text, "BODY ["));
    t->in_body = event == HTTP_EV_BODY;
    if (event == HTTP_EV_HEAD)
        http_transcript_head(t, head);
    if (event == HTTP_EV_BODY) {
        if (body.len == 0)
            abort();
        t->body_len += body.len;
        http_transcript_must(adit_buf_append_view(&t->text, body));
    }
    if (event == HTTP_EV_END) {
        t->message_cnt++;
        http_transcript_must(adit_buf_append_str(&t->text, "END\n"));
    }
}

/* Give one piece. Return: false when the parser refused it. */
static inline bool http_transcript_feed(struct http_transcript *t, struct adit_view piece)
{
    static struct http_head head;
    enum http_event event = HTTP_EV_HEAD;
    while (event != HTTP_EV_MORE) {
        struct adit_view body = {NULL, 0};
        struct adit_err err = ADIT_ERR_INIT;
        int rc = http_parser_next(t->parser, &piece, &head, &body, &event, &err);
        if (rc != ADIT_OK) {
            t->status = http_parser_error_status(t->parser);
            if (rc != err.code || err.msg[0] == '\0' || t->status < 400)
                abort();
            http_transcript_must(adit_buf_appendf(&t->text, "%sERROR %d %u\n",
                                                  t->in_body ? "]\n" : "", rc, t->status));
            return false;
        }
        if (event != HTTP_EV_MORE)
            http_transcript_event(t, event, &head, body);
    }
    if (piece.len > 0)
        abort(); /* MORE means that all was used */
    return true;
}

static inline void http_transcript_eof(struct http_transcript *t)
{
    enum http_event event;
    int rc = http_parser_eof(t->parser, &event, NULL);
    if (rc == ADIT_OK && event == HTTP_EV_END)
        http_transcript_event(t, event, NULL, adit_view_mem(NULL, 0));
    http_transcript_must(adit_buf_appendf(&t->text, "%sEOF %d\n", t->in_body ? "]\n" : "", rc));
}

/* Pieces of @step bytes; 0: lengths drawn from @seed; SIZE_MAX: all at once. Every piece is its own
 * heap block, so that a look beyond it is seen. */
static inline void http_transcript_run(struct http_transcript *t, struct adit_view bytes,
                                       size_t step, unsigned seed)
{
    while (bytes.len > 0) {
        seed = seed * 1103515245u + 12345u;
        size_t len = step > 0 ? step : 1 + (seed >> 16) % 24;
        if (len > bytes.len)
            len = bytes.len;
        char *piece = malloc(len);
        if (!piece)
            abort();
        memcpy(piece, bytes.ptr, len);
        bool ok = http_transcript_feed(t, adit_view_mem(piece, len));
        free(piece);
        if (!ok)
            return;
        bytes = adit_view_mem(bytes.ptr + len, bytes.len - len);
    }
    http_transcript_eof(t);
}

#endif
