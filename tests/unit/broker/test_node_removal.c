/* SPDX-License-Identifier: Apache-2.0 */
/* A disk on which the folder of a sandbox that ended cannot be removed. */
#include "tests/unit/suite.h"

#include "node_fixture.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Nothing can be removed so many times; how often that was tried. */
static unsigned removal_fails, removal_cnt;

int unlinkat(int dir_fd, const char *name, int flags)
{
    (void)__atomic_add_fetch(&removal_cnt, 1, __ATOMIC_SEQ_CST); /* on the thread pool */
    if (removal_cnt > removal_fails)
        return (int)syscall(SYS_unlinkat, dir_fd, name, flags);
    errno = EIO;
    return -1;
}

/* How far the loop's clock is ahead of the machine's. */
static time_t moved_s;

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    t->tv_sec += moved_s;
    return rc;
}

START_TEST(node_tries_again_until_a_folder_is_removed)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    removal_fails = removal_cnt + 1;
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_gt(removal_cnt, removal_fails);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_leaves_a_folder_that_cannot_be_removed_to_its_next_start)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    unsigned before = removal_cnt;
    removal_fails = before + NODE_REMOVALS_MAX;
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    for (unsigned n = 1; n < NODE_REMOVALS_MAX; n++) {
        run_until(&w, &removal_cnt, before + n);
        while (w.uv.active_reqs.count) /* the node has not heard of it yet */
            (void)uv_run(&w.uv, UV_RUN_ONCE);
        moved_s += NODE_DESTROY_RETRY_MS / 1000;
    }
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0); /* it is dead, and the one who asked need not wait longer */
    ck_assert_uint_eq(w.released, 1);
    ck_assert_uint_eq(removal_cnt, removal_fails);
    ck_assert(has_folder(&w, "ia"));
    forget_node(&w);
    open_node(&w);
    node_adopt(w.node);
    run_until(&w, &w.released, 2);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

SUITE_MAIN("node_removal", node_tries_again_until_a_folder_is_removed,
           node_leaves_a_folder_that_cannot_be_removed_to_its_next_start)
