/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/envd/scratch.h"
#include "tests/unit/suite.h"

static struct adit_err err;

/* What "sh -c @script" writes. */
static int read_script(const char *script, const struct tool_call *more, struct adit_buf *text)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct tool_call call = *more;
    call.argv = argv;
    call.package = "dash";
    adit_buf_init(text, 4096);
    return tool_read(&call, text, &err);
}

START_TEST(tool_gets_an_environment_of_its_own)
{
    struct adit_buf text;
    ck_assert_int_eq(setenv("SECRET", "x", 1), 0);
    ck_assert_int_eq(read_script("echo $LC_ALL $MORE $SECRET; pwd",
                                 &(struct tool_call){.env = "MORE=1", .dir = "/usr"}, &text),
                     0);
    ck_assert(adit_view_eq_str(adit_buf_view(&text), "C.UTF-8 1\n/usr\n"));
    adit_buf_fini(&text);
}
END_TEST

START_TEST(tool_reads_what_it_is_given)
{
    struct adit_buf text;
    scratch_write("in", "hello", 5);
    int fd = open(scratch("in"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read_script("cat", &(struct tool_call){.in = fd}, &text), 0);
    ck_assert(adit_view_eq_str(adit_buf_view(&text), "hello"));
    adit_buf_fini(&text);
    ck_assert_int_eq(read_script("cat", &(struct tool_call){0}, &text), 0);
    ck_assert_uint_eq(adit_buf_view(&text).len, 0);
    adit_buf_fini(&text);
    (void)close(fd);
}
END_TEST

START_TEST(tool_is_told_apart_when_it_fails_and_when_it_is_missing)
{
    struct adit_buf text;
    ck_assert_int_eq(read_script("exit 3", &(struct tool_call){0}, &text), ADIT_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "status 3"));
    ck_assert_int_eq(read_script("kill -9 $$", &(struct tool_call){0}, &text), ADIT_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "status 137"));
    const char *const argv[] = {"no-such-program", NULL};
    ck_assert_int_eq(tool_run(&(struct tool_call){.argv = argv, .package = "some-tools"}, &err),
                     ADIT_ERR_PRECONDITION);
    ck_assert_ptr_nonnull(strstr(err.msg, "some-tools"));
    adit_buf_fini(&text);
}
END_TEST

START_TEST(tool_ends_by_sigpipe_though_the_builder_does_not)
{
    struct adit_buf text;
    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(read_script("kill -PIPE $$", &(struct tool_call){0}, &text), ADIT_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "status 141"));
    adit_buf_fini(&text);
}
END_TEST

START_TEST(tool_refuses_more_words_and_more_output_than_it_has_room_for)
{
    const char *words[TOOL_ARGS_MAX + 2];
    struct adit_buf text;
    for (size_t i = 0; i <= TOOL_ARGS_MAX; i++)
        words[i] = "true";
    words[TOOL_ARGS_MAX + 1] = NULL;
    ck_assert_int_eq(tool_run(&(struct tool_call){.argv = words, .package = "x"}, &err),
                     ADIT_ERR_LIMIT);
    words[TOOL_ARGS_MAX] = NULL;
    ck_assert_int_eq(tool_run(&(struct tool_call){.argv = words, .package = "x"}, &err), 0);
    ck_assert_int_eq(read_script("seq 5000", &(struct tool_call){0}, &text), ADIT_ERR_LIMIT);
    adit_buf_fini(&text);
}
END_TEST

SUITE_MAIN_WITH("tool", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(tool_gets_an_environment_of_its_own, tool_reads_what_it_is_given,
                      tool_is_told_apart_when_it_fails_and_when_it_is_missing,
                      tool_ends_by_sigpipe_though_the_builder_does_not,
                      tool_refuses_more_words_and_more_output_than_it_has_room_for))
