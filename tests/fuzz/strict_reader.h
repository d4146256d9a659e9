/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second, independent reader of requests, slow and simple: where do messages end? It is told to
 * be strict only where framing is concerned. What the parser accepts must end where this reader
 * says.
 */
#ifndef ADIT_TESTS_STRICT_READER_H
#define ADIT_TESTS_STRICT_READER_H

#include "base/view.h"

#include <stdlib.h>
#include <strings.h>

/* @broken: framing that must not be accepted */
struct strict_reader {
    const char *at, *end;
    unsigned message_cnt;
    size_t body_len;
    bool broken, closed, incomplete;
};

static inline void strict_reader_body(struct strict_reader *r, unsigned long long want)
{
    size_t have = (size_t)(r->end - r->at);
    size_t n = want < have ? (size_t)want : have;
    r->at += n;
    r->body_len += n;
    r->incomplete = n < want;
}

/* One line ending in CRLF; false: not there (yet). */
static inline bool strict_reader_line(struct strict_reader *r, struct adit_view *line)
{
    const char *crlf = memmem(r->at, (size_t)(r->end - r->at), "\r\n", 2);
    if (!crlf) {
        r->incomplete = true;
        return false;
    }
    *line = adit_view_mem(r->at, (size_t)(crlf - r->at));
    r->at = crlf + 2;
    return true;
}

static inline void strict_reader_chunks(struct strict_reader *r)
{
    struct adit_view line;
    unsigned long long size = 1;
    while (size > 0 && !r->broken) {
        char digits[24] = "", *rest;
        if (!strict_reader_line(r, &line))
            return;
        while (line.len > 1 && line.ptr[0] == '0' && line.ptr[1] != ';')
            line = adit_view_mem(line.ptr + 1, line.len - 1);
        memcpy(digits, line.ptr, line.len < 23 ? line.len : 23);
        size = strtoull(digits, &rest, 16);
        r->broken = rest == digits || (*rest != '\0' && *rest != ';') || rest - digits > 16;
        if (r->broken || size == 0)
            break;
        strict_reader_body(r, size);
        if (r->incomplete)
            return;
        size_t left = (size_t)(r->end - r->at);
        r->broken = memcmp(r->at, "\r\n", left < 2 ? left : 2) != 0;
        r->incomplete = left < 2;
        if (r->incomplete)
            return;
        r->at += 2;
    }
    do {
        if (r->broken || !strict_reader_line(r, &line))
            return;
    } while (line.len > 0);
}

static inline bool strict_reader_is(struct adit_view line, const char *name,
                                    struct adit_view *value)
{
    size_t len = strlen(name);
    if (line.len <= len || line.ptr[len] != ':' || strncasecmp(line.ptr, name, len) != 0)
        return false;
    *value = adit_view_trim(adit_view_mem(line.ptr + len + 1, line.len - len - 1));
    return true;
}

static inline void strict_reader_message(struct strict_reader *r)
{
    struct adit_view line, value, item;
    unsigned length_cnt = 0, coding_cnt = 0;
    unsigned long long length = 0;
    bool close = false, keep = false;
    if (!strict_reader_line(r, &line))
        return;
    bool old = line.len > 0 && line.ptr[line.len - 1] == '0';
    for (;;) {
        if (!strict_reader_line(r, &line))
            return;
        if (line.len == 0)
            break;
        if (strict_reader_is(line, "content-length", &value)) {
            char digits[24] = "";
            memcpy(digits, value.ptr, value.len < 23 ? value.len : 23);
            length = strtoull(digits, NULL, 10);
            length_cnt++;
        }
        coding_cnt += strict_reader_is(line, "transfer-encoding", &value);
        if (!strict_reader_is(line, "connection", &value))
            continue;
        for (bool more = true; more;) {
            more = adit_view_split(value, ',', &item, &value);
            close = close || adit_view_ieq_str(adit_view_trim(item), "close");
            keep = keep || adit_view_ieq_str(adit_view_trim(item), "keep-alive");
        }
    }
    r->broken = length_cnt + coding_cnt > 1;
    r->closed = close || (old && !keep);
    if (coding_cnt > 0)
        strict_reader_chunks(r);
    else
        strict_reader_body(r, length);
    r->message_cnt += !r->incomplete && !r->broken;
}

static inline struct strict_reader strict_reader_run(struct adit_view bytes)
{
    struct strict_reader r = {.at = bytes.ptr, .end = bytes.ptr + bytes.len};
    while (r.at < r.end && !r.broken && !r.closed && !r.incomplete)
        strict_reader_message(&r);
    return r;
}

#endif
