/* SPDX-License-Identifier: Apache-2.0 */
/* Scope cleanup and handing over. */
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"

static int open_null(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int fd_seen;

static void leave_scope_with_fd(void)
{
    ADIT_CLEANUP_CLOSE int fd = open_null();
    ADIT_CLEANUP_FREE char *text = strdup("x");
    fd_seen = fd;
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    ck_assert_ptr_nonnull(text);
}

static int hand_fd_over(void)
{
    ADIT_CLEANUP_CLOSE int fd = open_null();
    return adit_steal_fd(&fd);
}

static char *hand_text_over(void)
{
    ADIT_CLEANUP_FREE char *text = strdup("kept");
    return adit_steal(&text);
}

START_TEST(cleanup_closes_at_the_end_of_the_scope)
{
    leave_scope_with_fd();
    ck_assert_int_eq(fcntl(fd_seen, F_GETFD), -1);
}
END_TEST

START_TEST(cleanup_leaves_alone_what_was_handed_over)
{
    int fd = hand_fd_over();
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    ck_assert_int_eq(close(fd), 0);
    char *text = hand_text_over();
    ck_assert_str_eq(text, "kept");
    free(text);
}
END_TEST

SUITE_MAIN("cleanup", cleanup_closes_at_the_end_of_the_scope,
           cleanup_leaves_alone_what_was_handed_over)
