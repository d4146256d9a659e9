/* SPDX-License-Identifier: Apache-2.0 */
/* EntryInfo: permissions texts, symlinks, metadata, odd names. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "envd/filesystem/entry.h"

static struct user_files names;

static struct entry *look(const char *name)
{
    struct entry *e = NULL;
    user_files_refresh(&names);
    ck_assert_int_eq(entry_new(scratch(name), &names, &e, NULL), 0);
    return e;
}

START_TEST(entry_permissions_texts)
{
    static const struct {
        mode_t mode;
        const char *text;
    } rows[] = {
        {S_IFREG | 0644, "-rw-r--r--"},
        {S_IFDIR | 0755, "drwxr-xr-x"},
        {S_IFLNK | 0777, "Lrwxrwxrwx"},
        {S_IFDIR | S_ISVTX | 0777, "dtrwxrwxrwx"},
        {S_IFREG | S_ISUID | 0755, "urwxr-xr-x"},
        {S_IFREG | S_ISGID | 0755, "grwxr-xr-x"},
        {S_IFREG | S_ISUID | S_ISGID | 0, "ug---------"},
        {S_IFBLK | 0660, "Drw-rw----"},
        {S_IFCHR | 0620, "Dcrw--w----"},
        {S_IFIFO | 0600, "prw-------"},
        {S_IFSOCK | 0700, "Srwx------"},
        {S_IFREG | 0001, "---------x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[ENTRY_PERMISSIONS_CAP];
        entry_format_permissions(rows[i].mode, text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

START_TEST(entry_of_a_file)
{
    scratch_write("f.txt", "hello", 5);
    ck_assert_int_eq(chmod(scratch("f.txt"), 0640), 0);
    ck_assert_int_eq(chown(scratch("f.txt"), 0, 65123), 0);
    struct timespec times[2] = {{0, 0}, {1000000000, 123456789}};
    ck_assert_int_eq(utimensat(AT_FDCWD, scratch("f.txt"), times, 0), 0);
    struct entry *e = look("f.txt");
    ck_assert_str_eq(e->pb.name, "f.txt");
    ck_assert_str_eq(e->pb.path, scratch("f.txt"));
    ck_assert_int_eq(e->pb.type, FILESYSTEM__FILE_TYPE__FILE_TYPE_FILE);
    ck_assert_int_eq(e->pb.size, 5);
    ck_assert_uint_eq(e->pb.mode, 0640);
    ck_assert_str_eq(e->pb.permissions, "-rw-r-----");
    ck_assert_str_eq(e->pb.owner, "root");
    ck_assert_str_eq(e->pb.group, "65123"); /* no name: the number */
    ck_assert_int_eq(e->pb.modified_time->seconds, 1000000000);
    ck_assert_int_eq(e->pb.modified_time->nanos, 123456789);
    ck_assert_int_eq((int)e->pb.has_symlink_target_case, 0);
    ck_assert_uint_eq(e->pb.n_metadata, 0);
    entry_free(e);
}
END_TEST

START_TEST(entry_of_a_symlink_shows_its_end)
{
    ck_assert_int_eq(mkdir(scratch("d"), 0750), 0);
    ck_assert_int_eq(symlink("d", scratch("l1")), 0);
    ck_assert_int_eq(symlink("l1", scratch("l2")), 0);
    ck_assert_int_eq(symlink("nowhere", scratch("dangling")), 0);
    ck_assert_int_eq(symlink("loop", scratch("loop")), 0);
    struct entry *e = look("l2");
    ck_assert_int_eq(e->pb.type, FILESYSTEM__FILE_TYPE__FILE_TYPE_DIRECTORY);
    ck_assert_uint_eq(e->pb.mode, 0750);
    ck_assert_int_eq(e->pb.size, 2);
    ck_assert_str_eq(e->pb.permissions, "Lrwxrwxrwx");
    ck_assert_str_eq(e->pb.symlink_target, scratch("d"));
    entry_free(e);
    const char *ends_nowhere[] = {"dangling", "loop"};
    for (int i = 0; i < 2; i++) {
        e = look(ends_nowhere[i]);
        ck_assert_int_eq(e->pb.type, FILESYSTEM__FILE_TYPE__FILE_TYPE_UNSPECIFIED);
        ck_assert_str_eq(e->pb.symlink_target, scratch(ends_nowhere[i]));
        entry_free(e);
    }
}
END_TEST

START_TEST(entry_of_special_files_has_no_type)
{
    ck_assert_int_eq(mkfifo(scratch("fifo"), 0600), 0);
    struct entry *e = look("fifo");
    ck_assert_int_eq(e->pb.type, FILESYSTEM__FILE_TYPE__FILE_TYPE_UNSPECIFIED);
    ck_assert_str_eq(e->pb.permissions, "prw-------");
    entry_free(e);
}
END_TEST

START_TEST(entry_shows_metadata_that_is_text)
{
    scratch_write("f", "x", 1);
    ck_assert_int_eq(setxattr(scratch("f"), "user.e2b.key", "value", 5, 0), 0);
    ck_assert_int_eq(setxattr(scratch("f"), "user.e2b.bad", "\xFF", 1, 0), 0);
    ck_assert_int_eq(setxattr(scratch("f"), "user.e2b.nul", "a\0b", 3, 0), 0);
    ck_assert_int_eq(setxattr(scratch("f"), "user.other", "o", 1, 0), 0);
    struct entry *e = look("f");
    ck_assert_uint_eq(e->pb.n_metadata, 1);
    ck_assert_str_eq(e->pb.metadata[0]->key, "key");
    ck_assert_str_eq(e->pb.metadata[0]->value, "value");
    entry_trim(e);
    ck_assert_uint_eq(e->pb.n_metadata, 0);
    ck_assert_str_eq(e->pb.name, "f");
    ck_assert_ptr_null(e->pb.modified_time);
    entry_free(e);
}
END_TEST

START_TEST(entry_name_that_is_no_text_is_made_one)
{
    scratch_write("a\xFFz", "x", 1);
    struct entry *e = look("a\xFFz");
    ck_assert_str_eq(e->pb.name, "a\xEF\xBF\xBDz");
    entry_free(e);
}
END_TEST

START_TEST(entry_missing_says_so_in_the_clients_words)
{
    struct entry *e = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(entry_new("/nonexistent", &names, &e, &err), ADIT_ERR_NOT_FOUND);
    ck_assert_str_eq(err.msg, "lstat /nonexistent: no such file or directory");
}
END_TEST

SUITE_MAIN_WITH("entry", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(entry_permissions_texts, entry_of_a_file, entry_of_a_symlink_shows_its_end,
                      entry_of_special_files_has_no_type, entry_shows_metadata_that_is_text,
                      entry_name_that_is_no_text_is_made_one,
                      entry_missing_says_so_in_the_clients_words))
