/* SPDX-License-Identifier: Apache-2.0 */
/* Files appear whole or not at all; watchers see what the contract says; no trace is left. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include <errno.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "envd/filesystem/place.h"

#define LARGE (PLACE_SMALL_MAX + 12345)

static const struct metadata no_metadata;
static struct place_conf conf = {{1234, 4321}, &no_metadata, false, false};

static int put(const char *name, const char *bytes, size_t len, struct adit_err *err)
{
    struct place p;
    int rc = place_init(&p, &conf, scratch(name), err);
    if (!rc && len)
        rc = place_write(&p, adit_view_mem(bytes, len), err);
    if (!rc)
        rc = place_commit(&p, err);
    place_fini(&p);
    return rc;
}

/* ---- watching ---- */

static int watch_open(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(inotify_add_watch(fd, scratch_dir,
                                       IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_TO |
                                           IN_MOVED_FROM | IN_ATTRIB),
                     0);
    return fd;
}

/* "create:name " … of all events, and close. */
static const char *watch_read(int fd)
{
    static char text[1024];
    static const struct {
        uint32_t mask;
        const char *word;
    } words[] = {{IN_CREATE, "create"}, {IN_MODIFY, "write"},  {IN_ATTRIB, "chmod"},
                 {IN_MOVED_TO, "to"},   {IN_DELETE, "remove"}, {IN_MOVED_FROM, "from"}};
    char bytes[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n = read(fd, bytes, sizeof bytes);
    text[0] = '\0';
    for (const char *p = bytes; n > 0 && p < bytes + n;) {
        const struct inotify_event *e = (const void *)p;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            if (e->mask & words[i].mask)
                (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%s ",
                               words[i].word, e->name);
        }
        p += sizeof *e + e->len;
    }
    (void)close(fd);
    return text;
}

START_TEST(place_new_file_gives_exactly_three_events)
{
    int fd = watch_open();
    ck_assert_int_eq(put("f", "hello", 5, NULL), 0);
    ck_assert_str_eq(watch_read(fd), "create:f chmod:f write:f ");
    ck_assert(scratch_is("f", "hello", 5));
}
END_TEST

START_TEST(place_new_empty_file_gives_no_write_event)
{
    int fd = watch_open();
    ck_assert_int_eq(put("f", "", 0, NULL), 0);
    ck_assert_str_eq(watch_read(fd), "create:f chmod:f ");
}
END_TEST

START_TEST(place_small_over_existing_gives_chmod_and_two_writes)
{
    scratch_write("f", "old content", 11);
    int fd = watch_open();
    ck_assert_int_eq(put("f", "new", 3, NULL), 0);
    /* the kernel merges equal neighbours that nobody read yet */
    ck_assert_str_eq(watch_read(fd), "chmod:f write:f ");
    ck_assert(scratch_is("f", "new", 3));
}
END_TEST

START_TEST(place_large_over_existing_appears_by_one_rename)
{
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", "old", 3);
    int fd = watch_open();
    ck_assert_int_eq(put("f", bytes, LARGE, NULL), 0);
    ck_assert_str_eq(watch_read(fd), "to:f chmod:f write:f ");
    ck_assert(scratch_is("f", bytes, LARGE));
    free(bytes);
}
END_TEST

START_TEST(place_events_on_a_mount_of_its_own_name_the_file)
{
    scratch_mount("8m");
    int fd = watch_open();
    ck_assert_int_eq(put("f", "hello", 5, NULL), 0);
    const char *events = watch_read(fd);
    /* the nameless file is in the watched directory here: "#…" events come before */
    const char *tail = strstr(events, "create:f");
    ck_assert_ptr_nonnull(tail);
    ck_assert_str_eq(tail, "create:f chmod:f write:f ");
}
END_TEST

/* ---- what files become ---- */

START_TEST(place_sizes_around_every_limit_arrive_whole)
{
    static const size_t sizes[] = {0,
                                   1,
                                   65535,
                                   65536,
                                   65537,
                                   PLACE_SMALL_MAX - 1,
                                   PLACE_SMALL_MAX,
                                   PLACE_SMALL_MAX + 1,
                                   3 * PLACE_SMALL_MAX};
    char *bytes = scratch_bytes(3 * PLACE_SMALL_MAX);
    for (int round = 0; round < 2; round++) { /* new, then existing */
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "f%zu", i);
            ck_assert_int_eq(put(name, bytes + round, sizes[i], NULL), 0);
            ck_assert(scratch_is(name, bytes + round, sizes[i]));
        }
    }
    ck_assert_int_eq(scratch_count(scratch_dir), sizeof sizes / sizeof sizes[0]);
    free(bytes);
}
END_TEST

START_TEST(place_sets_owner_and_mode)
{
    struct stat st;
    mode_t before = umask(077);
    ck_assert_int_eq(put("d/e/f", "x", 1, NULL), 0);
    (void)umask(before);
    ck_assert_int_eq(stat(scratch("d/e/f"), &st), 0);
    ck_assert_uint_eq(st.st_uid, 1234);
    ck_assert_uint_eq(st.st_gid, 4321);
    ck_assert_uint_eq(st.st_mode & 07777, 0644);
    ck_assert_int_eq(stat(scratch("d"), &st), 0);
    ck_assert_uint_eq(st.st_uid, 1234);
}
END_TEST

START_TEST(place_keeps_mode_and_inode_of_an_existing_file)
{
    char *bytes = scratch_bytes(LARGE);
    struct stat before, after;
    scratch_write("f", "#!/bin/sh\n", 10);
    ck_assert_int_eq(chmod(scratch("f"), 0750), 0);
    ck_assert_int_eq(stat(scratch("f"), &before), 0);
    ck_assert_int_eq(put("f", "x", 1, NULL), 0);
    ck_assert_int_eq(stat(scratch("f"), &after), 0);
    ck_assert_uint_eq(after.st_ino, before.st_ino);
    ck_assert_uint_eq(after.st_mode, before.st_mode);
    ck_assert_uint_eq(after.st_uid, 1234);
    ck_assert_int_eq(put("f", bytes, LARGE, NULL), 0); /* another inode, the same mode */
    ck_assert_int_eq(stat(scratch("f"), &after), 0);
    ck_assert_uint_eq(after.st_mode, before.st_mode);
    free(bytes);
}
END_TEST

START_TEST(place_takes_set_id_bits_off_with_the_old_owner)
{
    char *bytes = scratch_bytes(LARGE);
    struct stat after;
    for (int i = 0; i < 2; i++) {
        scratch_write("f", "old", 3);
        ck_assert_int_eq(chmod(scratch("f"), 06755), 0);
        ck_assert_int_eq(put("f", bytes, i ? LARGE : 3, NULL), 0);
        ck_assert_int_eq(stat(scratch("f"), &after), 0);
        ck_assert_uint_eq(after.st_mode & 07777, 0755);
    }
    free(bytes);
}
END_TEST

START_TEST(place_follows_symlinks_also_dangling_ones)
{
    char *bytes = scratch_bytes(LARGE);
    ck_assert_int_eq(mkdir(scratch("sub"), 0755), 0);
    ck_assert_int_eq(symlink("sub/target", scratch("link")), 0);
    ck_assert_int_eq(symlink(scratch("link"), scratch("link2")), 0);
    ck_assert_int_eq(put("link2", "a", 1, NULL), 0);
    ck_assert(scratch_is("sub/target", "a", 1));
    ck_assert_int_eq(put("link", bytes, LARGE, NULL), 0);
    ck_assert(scratch_is("sub/target", bytes, LARGE));
    char text[8];
    ck_assert_int_eq(readlink(scratch("link"), text, sizeof text), 8);
    free(bytes);
}
END_TEST

START_TEST(place_refuses_what_is_no_file)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(mkdir(scratch("dir"), 0755), 0);
    ck_assert_int_eq(mkfifo(scratch("fifo"), 0600), 0);
    ck_assert_int_eq(symlink("loop", scratch("loop")), 0);
    scratch_write("file", "x", 1);
    ck_assert_int_eq(put("dir", "x", 1, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "path is a directory: "));
    ck_assert_int_eq(put("new/", "x", 1, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(put("fifo", "x", 1, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(put("loop", "x", 1, &err), ADIT_ERR_IO);
    ck_assert_int_eq(put("file/x", "x", 1, &err), ADIT_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "error ensuring directories: path is a file: "));
    ck_assert(scratch_is("file", "x", 1));
}
END_TEST

START_TEST(place_without_commit_leaves_no_trace)
{
    char *bytes = scratch_bytes(LARGE);
    scratch_write("f", "old", 3);
    for (int i = 0; i < 4; i++) {
        struct place p;
        ck_assert_int_eq(place_init(&p, &conf, scratch(i % 2 ? "f" : "g"), NULL), 0);
        ck_assert_int_eq(place_write(&p, adit_view_mem(bytes, i < 2 ? 5 : LARGE), NULL), 0);
        place_fini(&p);
    }
    ck_assert_int_eq(scratch_count(scratch_dir), 1);
    ck_assert(scratch_is("f", "old", 3));
    free(bytes);
}
END_TEST

START_TEST(place_survives_a_directory_that_goes_away)
{
    struct place p;
    ck_assert_int_eq(place_init(&p, &conf, scratch("d/f"), NULL), 0);
    ck_assert_int_eq(place_write(&p, adit_view_str("x"), NULL), 0);
    ck_assert_int_eq(rmdir(scratch("d")), 0);
    ck_assert_int_ne(place_commit(&p, NULL), 0);
    place_fini(&p);
    ck_assert_int_eq(scratch_count(scratch_dir), 0);
}
END_TEST

START_TEST(place_last_of_two_writers_wins_whole)
{
    char *bytes = scratch_bytes(LARGE);
    struct place a, b;
    ck_assert_int_eq(place_init(&a, &conf, scratch("f"), NULL), 0);
    ck_assert_int_eq(place_init(&b, &conf, scratch("f"), NULL), 0);
    ck_assert_int_eq(place_write(&a, adit_view_mem(bytes, LARGE), NULL), 0);
    ck_assert_int_eq(place_write(&b, adit_view_mem(bytes + 7, LARGE - 7), NULL), 0);
    ck_assert_int_eq(place_commit(&a, NULL), 0);
    ck_assert_int_eq(place_commit(&b, NULL), 0);
    place_fini(&a);
    place_fini(&b);
    ck_assert(scratch_is("f", bytes + 7, LARGE - 7));
    ck_assert_int_eq(scratch_count(scratch_dir), 1);
    free(bytes);
}
END_TEST

#define RACE_ROUNDS 400

/* One of two writers that commit at the same moment. */
struct writer {
    struct place place;
    pthread_barrier_t *start;
    int rc;
};

static void *commit_at_start(void *arg)
{
    struct writer *w = arg;
    (void)pthread_barrier_wait(w->start);
    w->rc = place_commit(&w->place, NULL);
    return NULL;
}

START_TEST(place_small_writers_at_once_leave_the_whole_content_of_one)
{
    char *bytes = scratch_bytes(PLACE_SMALL_MAX);
    const size_t len[2] = {PLACE_SMALL_MAX, PLACE_SMALL_MAX / 2};
    pthread_barrier_t start;
    ck_assert_int_eq(pthread_barrier_init(&start, NULL, 2), 0);
    for (int round = 0; round < RACE_ROUNDS; round++) {
        struct writer w[2];
        pthread_t other;
        scratch_write("f", "old", 3);
        for (int i = 0; i < 2; i++) {
            w[i].start = &start;
            ck_assert_int_eq(place_init(&w[i].place, &conf, scratch("f"), NULL), 0);
            ck_assert_int_eq(place_write(&w[i].place, adit_view_mem(bytes + i, len[i]), NULL), 0);
        }
        ck_assert_int_eq(pthread_create(&other, NULL, commit_at_start, &w[0]), 0);
        (void)commit_at_start(&w[1]);
        ck_assert_int_eq(pthread_join(other, NULL), 0);
        ck_assert(w[0].rc == 0 && w[1].rc == 0);
        ck_assert(scratch_is("f", bytes, len[0]) || scratch_is("f", bytes + 1, len[1]));
        for (int i = 0; i < 2; i++)
            place_fini(&w[i].place);
    }
    (void)pthread_barrier_destroy(&start);
    free(bytes);
}
END_TEST

START_TEST(place_spilled_small_content_still_replaces_in_place)
{
    struct stat before, after;
    scratch_write("f", "old content", 11);
    ck_assert_int_eq(stat(scratch("f"), &before), 0);
    conf.spill = true;
    ck_assert_int_eq(put("f", "new", 3, NULL), 0);
    ck_assert_int_eq(stat(scratch("f"), &after), 0);
    ck_assert_uint_eq(after.st_ino, before.st_ino);
    ck_assert(scratch_is("f", "new", 3));
}
END_TEST

START_TEST(place_copies_into_a_mount_point)
{
    char *bytes = scratch_bytes(LARGE);
    scratch_write("under", "x", 1);
    scratch_write("f", "y", 1);
    ck_assert_int_eq(mount(scratch("under"), scratch("f"), NULL, MS_BIND, NULL), 0);
    int rc = put("f", bytes, LARGE, NULL);
    bool is_right = scratch_is("under", bytes, LARGE);
    ck_assert_int_eq(umount2(scratch("f"), 0), 0);
    ck_assert_int_eq(rc, 0);
    ck_assert(is_right);
    ck_assert_int_eq(scratch_count(scratch_dir), 2);
    free(bytes);
}
END_TEST

START_TEST(place_syncs_when_asked)
{
    conf.fsync = true;
    ck_assert_int_eq(put("f", "new", 3, NULL), 0);
    ck_assert_int_eq(put("f", "newer", 5, NULL), 0);
    ck_assert(scratch_is("f", "newer", 5));
}
END_TEST

/* In a root of its own: exit status 0 when only what a killed envd leaves was removed. */
static int clean_in_chroot(void)
{
    static const char *const kept[] = {"/.envd-upload-", "/.envd-upload-0123456789abcdef.txt",
                                       "/envd-upload-0123456789abcdef"};
    if (chroot(scratch_dir) || chdir("/"))
        return 1;
    for (size_t i = 0; i < 3; i++)
        (void)close(open(kept[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    (void)close(open("/.envd-upload-0123456789abcdef", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    place_clean();
    for (size_t i = 0; i < 3; i++) {
        if (access(kept[i], F_OK))
            return 2;
    }
    return access("/.envd-upload-0123456789abcdef", F_OK) ? 0 : 3;
}

START_TEST(place_clean_removes_what_a_killed_envd_left)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(clean_in_chroot());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- a full disk ---- */

/* Fill the file system but for about @left bytes. */
static void fill_up(size_t left)
{
    int fd = open(scratch("ballast"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static char zeros[4096];
    while (write(fd, zeros, sizeof zeros) > 0)
        continue;
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(ftruncate(fd, st.st_size - (off_t)left), 0);
    (void)close(fd);
}

START_TEST(place_full_disk_leaves_old_and_new_as_they_were)
{
    static const size_t sizes[] = {100 * 1024, PLACE_SMALL_MAX, LARGE};
    char *bytes = scratch_bytes(LARGE);
    struct adit_err err = ADIT_ERR_INIT;
    struct stat before, after;

    scratch_mount("2m");
    scratch_write("old", "old content", 11);
    ck_assert_int_eq(stat(scratch("old"), &before), 0);
    fill_up(8192);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ck_assert_int_eq(put("new", bytes, sizes[i], &err), ADIT_ERR_NO_SPACE);
        ck_assert_ptr_nonnull(strstr(err.msg, "not enough disk space available"));
        ck_assert_ptr_nonnull(strstr(err.msg, "attempted to write "));
        ck_assert_int_eq(put("old", bytes, sizes[i], &err), ADIT_ERR_NO_SPACE);
        ck_assert(!scratch_exists("new"));
        ck_assert(scratch_is("old", "old content", 11));
    }
    ck_assert_int_eq(stat(scratch("old"), &after), 0);
    ck_assert_uint_eq(after.st_uid, before.st_uid);
    ck_assert_uint_eq(after.st_mode, before.st_mode);
    ck_assert_int_eq(scratch_count(scratch_dir), 2);
    ck_assert_int_eq(put("new", bytes, 100, &err), 0); /* what fits still goes */
    free(bytes);
}
END_TEST

START_TEST(place_no_inodes_is_named)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(mount("tmpfs", scratch_dir, "tmpfs", 0, "size=1m,nr_inodes=2"), 0);
    scratch_write("only", "x", 1);
    ck_assert_int_eq(put("new", "x", 1, &err), ADIT_ERR_NO_SPACE);
    ck_assert_ptr_nonnull(strstr(err.msg, "not enough inodes available"));
    ck_assert_int_eq(scratch_count(scratch_dir), 1);
}
END_TEST

/* ---- metadata ---- */

static bool attribute_is(const char *name, const char *key, const char *value)
{
    char text[256];
    ssize_t n = getxattr(scratch(name), key, text, sizeof text);
    return value ? adit_view_eq_str(adit_view_mem(text, n < 0 ? 0 : (size_t)n), value)
                 : n < 0 && errno == ENODATA;
}

START_TEST(place_replaces_the_whole_metadata_set)
{
    struct metadata_pair pairs[] = {{"a", "1"}, {"b", "2"}};
    struct metadata m = {pairs, 2, NULL};
    ck_assert_int_eq(put("f", "x", 1, NULL), 0);
    conf.metadata = &m;
    ck_assert_int_eq(put("f", "x", 1, NULL), 0);
    ck_assert(attribute_is("f", "user.e2b.a", "1"));
    ck_assert(attribute_is("f", "user.e2b.b", "2"));
    ck_assert_int_eq(setxattr(scratch("f"), "user.other", "o", 1, 0), 0);
    m.cnt = 1;
    pairs[0].value = "3";
    ck_assert_int_eq(put("f", "x", 1, NULL), 0);
    ck_assert(attribute_is("f", "user.e2b.a", "3"));
    ck_assert(attribute_is("f", "user.e2b.b", NULL));
    conf.metadata = &no_metadata;
    ck_assert_int_eq(put("f", "x", 1, NULL), 0);
    ck_assert(attribute_is("f", "user.e2b.a", NULL));
    ck_assert(attribute_is("f", "user.other", "o"));
}
END_TEST

SUITE_MAIN_WITH(
    "place", .fixtures = {{scratch_setup, scratch_teardown}},
    TESTS(place_new_file_gives_exactly_three_events, place_new_empty_file_gives_no_write_event,
          place_small_over_existing_gives_chmod_and_two_writes,
          place_large_over_existing_appears_by_one_rename,
          place_events_on_a_mount_of_its_own_name_the_file,
          place_sizes_around_every_limit_arrive_whole, place_sets_owner_and_mode,
          place_keeps_mode_and_inode_of_an_existing_file,
          place_takes_set_id_bits_off_with_the_old_owner, place_follows_symlinks_also_dangling_ones,
          place_refuses_what_is_no_file, place_without_commit_leaves_no_trace,
          place_survives_a_directory_that_goes_away, place_last_of_two_writers_wins_whole,
          place_small_writers_at_once_leave_the_whole_content_of_one,
          place_spilled_small_content_still_replaces_in_place, place_copies_into_a_mount_point,
          place_syncs_when_asked, place_clean_removes_what_a_killed_envd_left,
          place_full_disk_leaves_old_and_new_as_they_were, place_no_inodes_is_named,
          place_replaces_the_whole_metadata_set))
