/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed bytes: a pointer and a length. Valid until the function it was passed to returns, unless
 * a header says until when. Text from the network is never assumed to be NUL-terminated. @ptr may
 * be NULL when @len is 0.
 */
#ifndef ADIT_BASE_VIEW_H
#define ADIT_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct adit_view {
    const char *ptr;
    size_t len;
};

/* A view of a string literal, usable in initialisers. */
#define ADIT_VIEW(literal)                                                                         \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
/* printf("%.*s", ADIT_VIEW_ARG(view)) */
#define ADIT_VIEW_ARG(v) (int)(v).len, (v).ptr ? (v).ptr : ""

static inline struct adit_view adit_view_str(const char *s)
{
    struct adit_view v = {s, s ? strlen(s) : 0};
    return v;
}

static inline struct adit_view adit_view_mem(const void *p, size_t len)
{
    struct adit_view v = {(const char *)p, len};
    return v;
}

bool adit_view_eq(struct adit_view a, struct adit_view b);
bool adit_view_eq_str(struct adit_view a, const char *s);
/* ASCII case-insensitive, as for header names. */
bool adit_view_ieq_str(struct adit_view a, const char *s);
/* Copy @v to @out, ASCII letters in lower case. No NUL is added. */
void adit_view_lower(struct adit_view v, char *out);
bool adit_view_has_prefix(struct adit_view v, const char *prefix);

/* Compare secrets in a time that depends on the lengths only. */
bool adit_view_eq_secret(struct adit_view a, struct adit_view b);

/* Cut spaces and tabs at both ends. */
struct adit_view adit_view_trim(struct adit_view v);

/* Split at the first @sep: @head is before it, @tail after; without @sep: all is @head, and false.
 */
bool adit_view_split(struct adit_view v, char sep, struct adit_view *head, struct adit_view *tail);

/*
 * Parse a canonical unsigned decimal: digits only, no sign, no space, no leading zero (but "0").
 * Errors: ADIT_ERR_BAD_INPUT also when it is above @max.
 */
ADIT_MUST_CHECK int adit_view_u64(struct adit_view v, uint64_t max, uint64_t *out);

/* Heap copy with a NUL behind it. Return: NULL without memory. Free with free(). */
char *adit_view_dup(struct adit_view v);

#endif
