/* SPDX-License-Identifier: Apache-2.0 */
/* Directory trees: made, listed, removed. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include "envd/filesystem/tree.h"

static const struct tree_owner owner = {1234, 4321};

/* "a b/ b/c …" relative to the directory; "!<code>" for an error. */
static const char *list(const char *path, uint32_t depth)
{
    static char text[4096];
    struct tree_list l;
    size_t skip = strlen(path) + (path[strlen(path) - 1] != '/');
    int rc = tree_list(path, depth, &l, NULL);
    text[0] = '\0';
    if (rc)
        (void)snprintf(text, sizeof text, "!%d", rc);
    for (size_t i = 0; !rc && i < l.cnt; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                       l.entries[i]->pb.path + skip);
    if (!rc)
        tree_list_fini(&l);
    return text;
}

static void make_tree(void)
{
    ck_assert_int_eq(mkdir(scratch("b"), 0755) | mkdir(scratch("b/d"), 0755) |
                         mkdir(scratch("b/d/e"), 0755) | mkdir(scratch("empty"), 0755),
                     0);
    scratch_write("a", "", 0);
    scratch_write("b/c", "", 0);
    scratch_write("b/d/x", "", 0);
    scratch_write("b.txt", "", 0);
    scratch_write("\xC3\xBC", "", 0);
    ck_assert_int_eq(symlink("b", scratch("link")), 0);
}

START_TEST(tree_lists_in_order_to_the_depth)
{
    make_tree();
    ck_assert_str_eq(list(scratch_dir, 0), "a b b.txt empty link \xC3\xBC");
    ck_assert_str_eq(list(scratch_dir, 1), list(scratch_dir, 0));
    ck_assert_str_eq(list(scratch_dir, 2), "a b b/c b/d b.txt empty link \xC3\xBC");
    ck_assert_str_eq(list(scratch_dir, 3), "a b b/c b/d b/d/e b/d/x b.txt empty link \xC3\xBC");
    ck_assert_str_eq(list(scratch_dir, UINT32_MAX), list(scratch_dir, 4));
    ck_assert_str_eq(list(scratch("empty"), 1), "");
}
END_TEST

START_TEST(tree_follows_a_symlink_at_the_root_only)
{
    make_tree();
    ck_assert_str_eq(list(scratch("link"), 2), "c d d/e d/x"); /* under the name asked for */
    ck_assert_str_eq(list(scratch("b/"), 1), "c d");
}
END_TEST

START_TEST(tree_refuses_what_it_cannot_list)
{
    struct tree_list l;
    struct adit_err err = ADIT_ERR_INIT;
    make_tree();
    ck_assert_int_eq(symlink("loop", scratch("loop")), 0);
    ck_assert_int_eq(tree_list(scratch("nope"), 1, &l, &err), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(strncmp(err.msg, "path not found: ", 16), 0);
    ck_assert_int_eq(tree_list(scratch("a"), 1, &l, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(strncmp(err.msg, "path is not a directory: ", 25), 0);
    ck_assert_int_eq(tree_list(scratch("loop"), 1, &l, &err), ADIT_ERR_PRECONDITION);
}
END_TEST

START_TEST(tree_list_is_bounded)
{
    struct tree_list l;
    struct adit_err err = ADIT_ERR_INIT;
    scratch_mount("64m");
    for (int i = 0; i <= TREE_LIST_ENTRIES_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", i);
        int fd = open(scratch(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        (void)close(fd);
    }
    ck_assert_int_eq(tree_list(scratch_dir, 1, &l, &err), ADIT_ERR_LIMIT);
    ck_assert_uint_eq(l.cnt, 0);
    ck_assert_int_eq(unlink(scratch("0")), 0);
    /* as many names as allowed, but more bytes than an answer may have */
    ck_assert_int_eq(tree_list(scratch_dir, 1, &l, &err), ADIT_ERR_LIMIT);
}
END_TEST

START_TEST(tree_lists_and_removes_any_depth)
{
    struct tree_list l;
    struct adit_err err = ADIT_ERR_INIT;
    int fd = open(scratch_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 3000; i++) { /* deeper than a path can name */
        ck_assert_int_eq(mkdirat(fd, "d", 0755), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)close(fd);
        fd = next;
    }
    (void)close(fd);
    ck_assert_int_eq(tree_list(scratch_dir, 1000, &l, &err), 0);
    ck_assert_uint_eq(l.cnt, 1000);
    tree_list_fini(&l);
    ck_assert_int_eq(tree_list(scratch_dir, 5000, &l, &err), ADIT_ERR_IO);
    ck_assert_uint_eq(l.cnt, 0);
    ck_assert_int_eq(tree_remove(scratch("d"), &err), 0);
    ck_assert_int_eq(scratch_count(scratch_dir), 0);
}
END_TEST

START_TEST(tree_makes_directories_that_belong_to_the_user)
{
    struct stat st;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(mkdir(scratch("mine"), 0700), 0);
    ck_assert_int_eq(symlink("mine", scratch("link")), 0);
    ck_assert_int_eq(tree_make_dirs(scratch("link//a/b/"), owner, &err), 0);
    ck_assert_int_eq(stat(scratch("mine/a/b"), &st), 0);
    ck_assert_uint_eq(st.st_uid, 1234);
    ck_assert_uint_eq(st.st_gid, 4321);
    ck_assert_uint_eq(st.st_mode & 07777, 0755);
    ck_assert_int_eq(stat(scratch("mine"), &st), 0);
    ck_assert_uint_eq(st.st_uid, 0); /* was there before */
    scratch_write("file", "x", 1);
    ck_assert_int_eq(tree_make_dirs(scratch("file/a"), owner, &err), ADIT_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "path is a file: "));
    ck_assert_int_eq(tree_make_parents(scratch("x/y/z"), owner, &err), 0);
    ck_assert(scratch_exists("x/y") && !scratch_exists("x/y/z"));
}
END_TEST

START_TEST(tree_removes_links_not_what_they_lead_to)
{
    make_tree();
    ck_assert_int_eq(tree_remove(scratch("link"), NULL), 0);
    ck_assert(scratch_exists("b/c") && !scratch_exists("link"));
    ck_assert_int_eq(symlink("../../a", scratch("b/d/up")), 0);
    ck_assert_int_eq(tree_remove(scratch("b/"), NULL), 0);
    ck_assert(scratch_exists("a") && !scratch_exists("b"));
    ck_assert_int_eq(tree_remove(scratch("b"), NULL), 0); /* missing is fine */
    ck_assert_int_eq(tree_remove(scratch("nope/deeper"), NULL), 0);
    ck_assert_int_eq(tree_remove("/", NULL), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(tree_remove(scratch("empty/.."), NULL), ADIT_ERR_BAD_INPUT);
    ck_assert(scratch_exists("empty"));
}
END_TEST

SUITE_MAIN_WITH("tree", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(tree_lists_in_order_to_the_depth, tree_follows_a_symlink_at_the_root_only,
                      tree_refuses_what_it_cannot_list, tree_list_is_bounded,
                      tree_lists_and_removes_any_depth,
                      tree_makes_directories_that_belong_to_the_user,
                      tree_removes_links_not_what_they_lead_to))
