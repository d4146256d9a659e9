/* SPDX-License-Identifier: Apache-2.0 */
/* What the multipart reader makes of some bytes, as one text; see http_transcript.h. */
#ifndef ADIT_TESTS_MULTIPART_TRANSCRIPT_H
#define ADIT_TESTS_MULTIPART_TRANSCRIPT_H

#include "net/multipart.h"

#include <stdlib.h>

/* @code: 0, or the error that ended it, that of multipart_finish() included */
struct multipart_transcript {
    struct adit_buf text;
    int code;
    size_t data_len;
    bool in_data;
};

static inline void multipart_transcript_must(int rc)
{
    if (rc != ADIT_OK)
        abort();
}

static inline void multipart_transcript_part(struct multipart_transcript *t,
                                             const struct multipart_part *p)
{
    multipart_transcript_must(adit_buf_appendf(
        &t->text, "PART %d '%.*s' %d '%.*s' type '%.*s'\n", p->has_name, ADIT_VIEW_ARG(p->name),
        p->has_filename, ADIT_VIEW_ARG(p->filename), ADIT_VIEW_ARG(p->content_type)));
}

static inline void multipart_transcript_event(struct multipart_transcript *t,
                                              enum multipart_event event,
                                              const struct multipart_part *part,
                                              struct adit_view data)
{
    static const char *const names[] = {
        [MULTIPART_EV_PART_END] = "PART_END\n", [MULTIPART_EV_END] = "END\n"};
    if (t->in_data && event != MULTIPART_EV_DATA)
        multipart_transcript_must(adit_buf_append_str(&t->text, "]\n"));
    if (!t->in_data && event == MULTIPART_EV_DATA)
        multipart_transcript_must(adit_buf_append_str(&t->text, "DATA ["));
    t->in_data = event == MULTIPART_EV_DATA;
    if (event == MULTIPART_EV_PART)
        multipart_transcript_part(t, part);
    else if (event == MULTIPART_EV_DATA)
        multipart_transcript_must(adit_buf_append_view(&t->text, data));
    else
        multipart_transcript_must(adit_buf_append_str(&t->text, names[event]));
    t->data_len += data.len;
    if (event == MULTIPART_EV_DATA && data.len == 0)
        abort();
}

static inline int multipart_transcript_feed(struct multipart_transcript *t, struct multipart *m,
                                            struct adit_view piece)
{
    for (;;) {
        struct multipart_part part;
        struct adit_view data = {NULL, 0};
        enum multipart_event event;
        int rc = multipart_next(m, &piece, &part, &data, &event, NULL);
        if (rc != ADIT_OK)
            return rc;
        if (event == MULTIPART_EV_MORE)
            break;
        multipart_transcript_event(t, event, &part, data);
    }
    if (piece.len > 0)
        abort(); /* MORE means that all was used */
    return ADIT_OK;
}

static inline void multipart_transcript_fini(struct multipart_transcript *t)
{
    adit_buf_fini(&t->text);
}

/* Cut at @cut, then in pieces of @step bytes (SIZE_MAX: no more cuts). */
static inline void multipart_transcript_run(struct multipart_transcript *t,
                                            struct adit_view content_type, struct adit_view bytes,
                                            size_t cut, size_t step)
{
    struct multipart *m;
    *t = (struct multipart_transcript){0};
    adit_buf_init(&t->text, 64u * 1024 * 1024);
    t->code = multipart_new(content_type, &m, NULL);
    if (t->code != ADIT_OK)
        return;
    size_t len = cut < bytes.len ? cut : bytes.len;
    do {
        char *piece = malloc(len > 0 ? len : 1);
        if (!piece)
            abort();
        if (len > 0)
            memcpy(piece, bytes.ptr, len);
        t->code = multipart_transcript_feed(t, m, adit_view_mem(piece, len));
        free(piece);
        if (len > 0)
            bytes = adit_view_mem(bytes.ptr + len, bytes.len - len);
        len = step < bytes.len ? step : bytes.len;
    } while (t->code == ADIT_OK && bytes.len > 0);
    if (t->code == ADIT_OK)
        t->code = multipart_finish(m, NULL);
    multipart_transcript_must(
        adit_buf_appendf(&t->text, "%s%d\n", t->in_data ? "]\n" : "", t->code));
    multipart_free(m);
}

#endif
