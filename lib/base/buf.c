/* SPDX-License-Identifier: Apache-2.0 */
/* A byte buffer that grows up to a maximum, with consumption at the front. */
/*
 * Theory of operation
 *
 * What     See buf.h. off + len <= cap <= max holds at all times.
 * Storage  One byte more than cap is allocated, so that a NUL always fits behind the content: text
 *          is printed in place and given away as a string without a copy.
 * Cost     Growth doubles, so an append is O(1) on average. The consumed front is moved away only
 *          when that makes the room that is asked for; a buffer that is emptied between fills, as
 * in a relay, never moves a byte. Failure  A failed append leaves the content as it was.
 */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

#define FIRST_CAP 256

void adit_buf_init(struct adit_buf *b, size_t max)
{
    *b = (struct adit_buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

static void release(struct adit_buf *b)
{
    free(b->data);
    b->data = NULL;
    b->off = b->len = b->cap = 0;
}

void adit_buf_fini(struct adit_buf *b)
{
    release(b);
}

void adit_buf_clear(struct adit_buf *b)
{
    b->off = b->len = 0;
}

static size_t grown_cap(const struct adit_buf *b, size_t need)
{
    size_t cap = b->cap > b->max / 2 ? b->max : 2 * b->cap;
    if (cap < FIRST_CAP)
        cap = FIRST_CAP < b->max ? FIRST_CAP : b->max;
    return cap > need ? cap : need;
}

/* Make room by moving the content to the front, and by a larger storage if that is not enough. */
static int make_room(struct adit_buf *b, size_t need)
{
    if (b->data && b->off) {
        memmove(b->data, b->data + b->off, b->len);
        b->off = 0;
    }
    if (need <= b->cap && b->data)
        return 0;
    size_t cap = grown_cap(b, need);
    char *data = realloc(b->data, cap + 1);
    if (!data)
        return ADIT_ERR_NO_MEMORY;
    b->data = data;
    b->cap = cap;
    return 0;
}

int adit_buf_reserve(struct adit_buf *b, size_t extra)
{
    if (extra > b->max - b->len)
        return ADIT_ERR_LIMIT;
    if (b->data && extra <= b->cap - b->off - b->len)
        return 0;
    return make_room(b, b->len + extra);
}

void adit_buf_added(struct adit_buf *b, size_t n)
{
    assert(n <= b->cap - b->off - b->len);
    b->len += n;
}

int adit_buf_append(struct adit_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    int rc = adit_buf_reserve(b, n);
    if (rc)
        return rc;
    memcpy(adit_buf_tail(b), p, n);
    b->len += n;
    return 0;
}

int adit_buf_append_view(struct adit_buf *b, struct adit_view v)
{
    return adit_buf_append(b, v.ptr, v.len);
}

int adit_buf_append_str(struct adit_buf *b, const char *s)
{
    return adit_buf_append(b, s, strlen(s));
}

int adit_buf_append_char(struct adit_buf *b, char c)
{
    return adit_buf_append(b, &c, 1);
}

/* Print into the room that there is (with the byte kept for the NUL); once more when it was short.
 */
ADIT_PRINTF(2, 0) static int append_va(struct adit_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    size_t room = b->data ? b->cap - b->off - b->len + 1 : 0;
    int n = vsnprintf(room ? adit_buf_tail(b) : NULL, room, fmt, ap);
    int rc = n < 0 ? ADIT_ERR_BAD_INPUT : 0;
    if (!rc && (size_t)n >= room) {
        rc = adit_buf_reserve(b, (size_t)n);
        if (!rc)
            (void)vsnprintf(adit_buf_tail(b), (size_t)n + 1, fmt,
                            again); /* measured: cannot fail */
    }
    va_end(again);
    if (!rc)
        b->len += (size_t)n;
    return rc;
}

int adit_buf_appendf(struct adit_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = append_va(b, fmt, ap);
    va_end(ap);
    return rc;
}

/* Length of the run at the start of @v that a JSON string holds as it is: printable ASCII. */
static size_t plain_run(struct adit_view v)
{
    size_t n = 0;
    while (n < v.len && v.ptr[n] >= 0x20 && v.ptr[n] < 0x7F && v.ptr[n] != '"' && v.ptr[n] != '\\')
        n++;
    return n;
}

int adit_buf_append_json_text(struct adit_buf *b, struct adit_view v)
{
    size_t len_before = b->len;
    int rc = 0;

    while (v.len && !rc) {
        size_t used = plain_run(v);
        if (used) {
            rc = adit_buf_append(b, v.ptr, used);
        } else {
            char out[ADIT_UTF8_JSON_CAP];
            size_t n = adit_utf8_json_char(v, out, &used);
            rc = adit_buf_append(b, out, n);
        }
        v.ptr += used;
        v.len -= used;
    }
    if (rc)
        b->len = len_before;
    return rc;
}

void adit_buf_consume(struct adit_buf *b, size_t n)
{
    assert(n <= b->len);
    b->off += n;
    b->len -= n;
    if (b->len)
        return;
    b->off = 0;
    if (b->cap > ADIT_BUF_KEEP)
        release(b);
}

char *adit_buf_steal_str(struct adit_buf *b)
{
    if (!b->data)
        return adit_view_dup(adit_view_mem(NULL, 0));
    char *s = b->data;
    memmove(s, s + b->off, b->len);
    s[b->len] = '\0';
    b->data = NULL;
    release(b);
    return s;
}
