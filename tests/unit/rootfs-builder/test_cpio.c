/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/cpio.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/envd/scratch.h"
#include "tests/unit/suite.h"

static struct adit_buf out;
static struct adit_err err;

static void setup(void)
{
    adit_buf_init(&out, 1024u * 1024);
}

static void teardown(void)
{
    adit_buf_fini(&out);
}

static void write_archive(void)
{
    struct cpio c;
    adit_buf_clear(&out);
    cpio_init(&c, &out);
    ck_assert_int_eq(cpio_add(&c, "d", S_IFDIR | 0755, adit_view_mem(NULL, 0), &err), 0);
    ck_assert_int_eq(cpio_add(&c, "d/one", S_IFREG | 0644, adit_view_str("1"), &err), 0);
    ck_assert_int_eq(cpio_add(&c, "d/four", S_IFREG | 0755, adit_view_str("four"), &err), 0);
    ck_assert_int_eq(cpio_add(&c, "d/none", S_IFREG | 0600, adit_view_str(""), &err), 0);
    ck_assert_int_eq(cpio_add_device(&c, "null", S_IFCHR | 0666, 1, 3, &err), 0);
    ck_assert_int_eq(cpio_end(&c, &err), 0);
}

static int run(const char *command)
{
    int status = system(command); /* NOLINT: a fixed command */
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(cpio_is_read_by_the_program_of_that_name)
{
    static const char listed[] = "drwxr-xr-x 0 d\n-rw-r--r-- 0 d/one\n-rwxr-xr-x 0 d/four\n"
                                 "-rw------- 0 d/none\ncrw-rw-rw- 0 null\n";
    char command[512];
    if (run("command -v cpio >/dev/null") != 0) {
        printf("# cpio is not installed: nothing reads the archive\n");
        return;
    }
    write_archive();
    scratch_write("archive", adit_buf_view(&out).ptr, adit_buf_view(&out).len);
    (void)snprintf(
        command, sizeof command,
        "cd %s && cpio -itvn --quiet <archive | awk '{print $1, $3, $NF}' >list && "
        "mkdir out && cd out && cpio -idm --quiet <../archive 2>/dev/null; test -f d/one",
        scratch_dir);
    ck_assert_int_eq(run(command), 0);
    ck_assert(scratch_is("list", listed, strlen(listed)));
    ck_assert(scratch_is("out/d/one", "1", 1));
    ck_assert(scratch_is("out/d/four", "four", 4));
    ck_assert(scratch_is("out/d/none", "", 0));
}
END_TEST

START_TEST(cpio_of_the_same_entries_is_the_same_bytes)
{
    write_archive();
    char *first = adit_view_dup(adit_buf_view(&out));
    size_t len = adit_buf_view(&out).len;
    ck_assert_ptr_nonnull(first);
    write_archive();
    ck_assert(adit_view_eq(adit_buf_view(&out), adit_view_mem(first, len)));
    ck_assert_uint_eq(len % 4, 0);
    free(first);
}
END_TEST

START_TEST(cpio_refuses_names_that_lead_elsewhere)
{
    static const char *const names[] = {"",     "/a",   "a/",  "a//b",      ".",
                                        "../a", "a/..", "./a", "TRAILER!!!"};
    char longest[CPIO_NAME_MAX + 2];
    struct cpio c;
    cpio_init(&c, &out);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(cpio_add(&c, longest, S_IFREG, adit_view_str("x"), &err), ADIT_ERR_BAD_INPUT);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_msg(cpio_add(&c, names[i], S_IFREG | 0644, adit_view_str("x"), &err) ==
                          ADIT_ERR_BAD_INPUT,
                      "%s", names[i]);
    ck_assert_int_eq(cpio_add(&c, "l", S_IFLNK | 0777, adit_view_str("x"), &err),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(cpio_add(&c, "d", S_IFDIR | 0755, adit_view_str("x"), &err),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(adit_buf_view(&out).len, 0);
}
END_TEST

START_TEST(cpio_says_what_does_not_fit)
{
    struct adit_buf small;
    struct cpio c;
    adit_buf_init(&small, 200);
    cpio_init(&c, &small);
    ck_assert_int_eq(cpio_add(&c, "a", S_IFREG | 0644, adit_view_str("x"), &err), 0);
    ck_assert_int_eq(cpio_add(&c, "b", S_IFREG | 0644, adit_view_str("x"), &err), ADIT_ERR_LIMIT);
    adit_buf_fini(&small);
}
END_TEST

SUITE_MAIN_WITH("cpio", .fixtures = {{scratch_setup, scratch_teardown}, {setup, teardown}},
                TESTS(cpio_is_read_by_the_program_of_that_name,
                      cpio_of_the_same_entries_is_the_same_bytes,
                      cpio_refuses_names_that_lead_elsewhere, cpio_says_what_does_not_fit))
