/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope cleanup for straight-line code (configuration, builders, child set-up). Never across a
 * callback, and never mixed with goto in one function.
 */
#ifndef ADIT_BASE_CLEANUP_H
#define ADIT_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void adit_cleanup_free_fn(void *p)
{
    free(*(void **)p);
}

static inline void adit_cleanup_close_fn(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* nothing can be done about a failed close of a read side */
}

#define ADIT_CLEANUP_FREE __attribute__((cleanup(adit_cleanup_free_fn)))
#define ADIT_CLEANUP_CLOSE __attribute__((cleanup(adit_cleanup_close_fn)))

/* Hand a pointer over: yields it and leaves NULL behind. */
#define adit_steal(pp)                                                                             \
    __extension__({                                                                                \
        __typeof__(*(pp)) stolen_ = *(pp);                                                         \
        *(pp) = NULL;                                                                              \
        stolen_;                                                                                   \
    })

/* Hand a descriptor over: yields it and leaves -1 behind. */
static inline int adit_steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#endif
