/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing, cutting and reading borrowed bytes. */
/*
 * Theory of operation
 *
 * What     Functions on (pointer, length) pairs that never look past the length and never need a
 *          NUL. Letters are ASCII: no function here depends on a locale.
 * Trust    The bytes are hostile. Numbers are taken in one spelling only (no sign, no leading
 * zero), so that what was checked and what is used cannot differ. Failure  Only adit_view_dup()
 * allocates; it returns NULL without memory.
 */
#include "base/view.h"

#include <stdlib.h>

bool adit_view_eq(struct adit_view a, struct adit_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool adit_view_eq_str(struct adit_view a, const char *s)
{
    return adit_view_eq(a, adit_view_str(s));
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool adit_view_ieq_str(struct adit_view a, const char *s)
{
    if (a.len != strlen(s))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(s[i]))
            return false;
    }
    return true;
}

void adit_view_lower(struct adit_view v, char *out)
{
    for (size_t i = 0; i < v.len; i++)
        out[i] = lower(v.ptr[i]);
}

bool adit_view_has_prefix(struct adit_view v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.len >= n && (n == 0 || memcmp(v.ptr, prefix, n) == 0);
}

bool adit_view_eq_secret(struct adit_view a, struct adit_view b)
{
    if (a.len != b.len)
        return false;
    volatile unsigned char diff = 0; /* volatile: no early exit by the compiler */
    for (size_t i = 0; i < a.len; i++)
        diff = (unsigned char)(diff | (unsigned char)(a.ptr[i] ^ b.ptr[i]));
    return diff == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct adit_view adit_view_trim(struct adit_view v)
{
    while (v.len && is_blank(v.ptr[0])) {
        v.ptr++;
        v.len--;
    }
    while (v.len && is_blank(v.ptr[v.len - 1]))
        v.len--;
    return v;
}

bool adit_view_split(struct adit_view v, char sep, struct adit_view *head, struct adit_view *tail)
{
    const char *at = v.len ? memchr(v.ptr, sep, v.len) : NULL;
    if (!at) {
        *head = v;
        *tail = adit_view_mem(NULL, 0);
        return false;
    }
    size_t head_len = (size_t)(at - v.ptr);
    *head = adit_view_mem(v.ptr, head_len);
    *tail = adit_view_mem(at + 1, v.len - head_len - 1);
    return true;
}

int adit_view_u64(struct adit_view v, uint64_t max, uint64_t *out)
{
    if (v.len == 0 || (v.ptr[0] == '0' && v.len > 1))
        return ADIT_ERR_BAD_INPUT;
    uint64_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return ADIT_ERR_BAD_INPUT;
        uint64_t digit = (uint64_t)(v.ptr[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return ADIT_ERR_BAD_INPUT;
        n = n * 10 + digit;
    }
    if (n > max)
        return ADIT_ERR_BAD_INPUT;
    *out = n;
    return 0;
}

char *adit_view_dup(struct adit_view v)
{
    if (v.len == SIZE_MAX)
        return NULL;
    char *s = malloc(v.len + 1);
    if (!s)
        return NULL;
    if (v.len)
        memcpy(s, v.ptr, v.len);
    s[v.len] = '\0';
    return s;
}
