/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The malloc of a test program, in which one allocation fails. A sanitizer needs malloc for itself:
 * FAILING_MALLOC is 0 then, and a test that wants failures is skipped.
 */
#ifndef ADIT_TESTS_UNIT_FAILING_MALLOC_H
#define ADIT_TESTS_UNIT_FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define FAILING_MALLOC 1
#ifdef __SANITIZE_ADDRESS__
#undef FAILING_MALLOC
#define FAILING_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef FAILING_MALLOC
#define FAILING_MALLOC 0
#endif
#endif
#define FAILING_MALLOC_NEEDS "a malloc of its own (release build, no sanitizer)"

/* The n-th allocation from now fails, 0: none. Not counted while is_off. */
static struct {
    long countdown, live; /* live: blocks that are allocated now */
    bool is_off;
    void (*on_failure)(void); /* or NULL */
} failing_malloc;

/* The thread that sets it has what it asks for, uncounted. */
static __thread bool failing_malloc_spares __attribute__((unused));

#if FAILING_MALLOC
void *__libc_malloc(size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_calloc(size_t cnt, size_t n);
void __libc_free(void *p);

static bool failing_malloc_fails(void)
{
    if (failing_malloc.is_off || failing_malloc_spares || !failing_malloc.countdown ||
        --failing_malloc.countdown)
        return false;
    if (failing_malloc.on_failure)
        failing_malloc.on_failure();
    return true;
}

static void *failing_malloc_counted(void *p)
{
    (void)__atomic_add_fetch(&failing_malloc.live, p != NULL, __ATOMIC_RELAXED); /* threads */
    return p;
}

void *malloc(size_t n)
{
    return failing_malloc_fails() ? NULL : failing_malloc_counted(__libc_malloc(n));
}

void *calloc(size_t cnt, size_t n)
{
    return failing_malloc_fails() ? NULL : failing_malloc_counted(__libc_calloc(cnt, n));
}

void *realloc(void *p, size_t n)
{
    if (failing_malloc_fails())
        return NULL;
    return p ? __libc_realloc(p, n) : failing_malloc_counted(__libc_realloc(NULL, n));
}

void free(void *p)
{
    (void)__atomic_sub_fetch(&failing_malloc.live, p != NULL, __ATOMIC_RELAXED);
    __libc_free(p);
}
#endif

#endif
