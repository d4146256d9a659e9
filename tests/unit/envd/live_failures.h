/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live envd of which one allocation fails. Between requests SIGUSR1 sets which, and says how many
 * blocks of memory there are. Only where FAILING_MALLOC.
 */
#ifndef ADIT_TESTS_UNIT_ENVD_LIVE_FAILURES_H
#define ADIT_TESTS_UNIT_ENVD_LIVE_FAILURES_H

#include "tests/unit/failing_malloc.h"

#if FAILING_MALLOC

#include <sys/mman.h>

#include "live_envd.h"

#define LIVE_BLOCKS_WAIT_MS 6000

/* Shared with envd. @fail_at: the n-th from now; 0: none. @asked, @answered: signals. */
static struct live_failures {
    volatile long fail_at, fired, live, asked, answered;
} * live_failures;

static inline void live_note_failure(void)
{
    live_failures->fired++;
}

static inline void live_on_signal(int sig)
{
    (void)sig;
    failing_malloc.countdown = live_failures->fail_at;
    live_failures->live = failing_malloc.live;
    live_failures->answered = live_failures->asked;
}

static inline void live_listen_to_signals(void)
{
    struct sigaction action = {.sa_handler = live_on_signal, .sa_flags = SA_RESTART};
    failing_malloc.on_failure = live_note_failure;
    (void)sigaction(SIGUSR1, &action, NULL); /* always valid */
}

/* Return: the blocks that envd has. */
static inline long live_fail_nth(long n)
{
    int status = 0;
    live_failures->fail_at = n;
    live_failures->asked++;
    ck_assert_int_eq(kill(live_pid, SIGUSR1), 0);
    while (live_failures->answered != live_failures->asked)
        ck_assert_msg(waitpid(live_pid, &status, WNOHANG) == 0, "envd ended with %d", status);
    return live_failures->live;
}

/* Before live_start(). */
static inline void live_failures_share(void)
{
    live_failures = mmap(NULL, sizeof *live_failures, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne((void *)live_failures, MAP_FAILED);
    live_before_run = live_listen_to_signals;
}

/* Jobs of the thread pool may end after the client has its answer, connections later still. */
static inline void live_expect_blocks(long before)
{
    for (int i = 0; i < LIVE_BLOCKS_WAIT_MS && live_fail_nth(0) > before; i++)
        (void)poll(NULL, 0, 1); /* a turn of envd's loop */
    long now = live_fail_nth(0);
    ck_assert_msg(now <= before, "%ld blocks more than before", now - before);
}

#endif

#endif
