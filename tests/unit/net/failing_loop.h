/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop in which allocations fail, for torture tests: what runs inside uv_run() may be refused
 * memory, the test itself may not. Included before net_fixture.h.
 */
#ifndef ADIT_TESTS_FAILING_LOOP_H
#define ADIT_TESTS_FAILING_LOOP_H

#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include <uv.h>

#define UNUSED __attribute__((unused))

static int run_loop(uv_loop_t *loop, uv_run_mode mode)
{
    failing_malloc.is_off = false;
    int rc = uv_run(loop, mode);
    failing_malloc.is_off = true;
    return rc;
}

#define uv_run run_loop

/* libuv aborts without memory: it gets an allocator that never fails. */
static void spare_libuv(void)
{
#if FAILING_MALLOC
    ck_assert_int_eq(
        uv_replace_allocator(__libc_malloc, __libc_realloc, __libc_calloc, __libc_free), 0);
#endif
}

#endif
