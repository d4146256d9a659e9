/* SPDX-License-Identifier: Apache-2.0 */
/* Watched trees on real directories: events, their order and names, renames, races, limits. */
#include "tests/unit/suite.h"
#include "scratch.h"

#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/xattr.h>

#include "envd/filesystem/watch_os.h"
#include "tests/unit/failing_malloc.h"

#define TEXT_CAP (8u * 1024 * 1024)

static struct watch_kernel kernel;
static struct watch_table table;
static struct watch_tree tree;
static char text[TEXT_CAP];
static struct adit_err err;

static void start(void)
{
    ck_assert_int_eq(watch_os_open(&kernel, NULL), 0);
    watch_table_init(&table, &kernel.os);
    table.room = SIZE_MAX;
}

static void stop(void)
{
    watch_tree_close(&tree);
    ck_assert_uint_eq(table.by_wd.len, 0);
    ck_assert_uint_eq(table.by_name.len, 0);
    watch_table_fini(&table);
    watch_os_close(&kernel);
}

static int open_at(struct watch_tree *t, const char *path, struct watch_tree_conf conf)
{
    bool is_whole = false;
    int rc = watch_tree_open(t, &table, &conf, path, &err);
    t->room = SIZE_MAX;
    while (!rc && !is_whole)
        rc = watch_tree_step(t, &is_whole, &err);
    if (rc)
        watch_tree_close(t);
    return rc;
}

static void watch(bool is_recursive)
{
    ck_assert_int_eq(open_at(&tree, scratch_dir, (struct watch_tree_conf){is_recursive, 0, 0}), 0);
}

/* Feed what the kernel has; @at_most bytes at once. */
static void pump(size_t at_most)
{
    static char raw[64 * 1024];
    for (;;) {
        ssize_t n = read(kernel.fd, raw, at_most < sizeof raw ? at_most : sizeof raw);
        if (n <= 0)
            break;
        watch_table_feed(&table, adit_view_mem(raw, (size_t)n));
    }
}

/* "CREATE a, WRITE a" of all events of @t; they are dropped. */
static const char *told(struct watch_tree *t)
{
    static const char *const names[] = {"?", "CREATE", "WRITE", "REMOVE", "RENAME", "CHMOD"};
    struct adit_list *it;
    size_t len = 0;
    text[0] = '\0';
    while ((it = adit_list_first(&t->events))) {
        struct watch_event *e = ADIT_CONTAINER_OF(it, struct watch_event, node);
        len += (size_t)snprintf(text + len, TEXT_CAP - len, "%s%s %s", len ? ", " : "",
                                names[e->type], e->name);
        watch_event_free(e);
    }
    return text;
}

static const char *events(void)
{
    pump(SIZE_MAX);
    return told(&tree);
}

static void make_dir(const char *name)
{
    ck_assert_int_eq(mkdir(scratch(name), 0755), 0);
}

static void move(const char *from, const char *to)
{
    ck_assert_int_eq(rename(scratch(from), scratch(to)), 0);
}

START_TEST(watch_tree_maps_each_raw_event)
{
    watch(false);
    scratch_write("f", "x", 1);
    ck_assert_str_eq(events(), "CREATE f, WRITE f");
    ck_assert_int_eq(chmod(scratch("f"), 0600), 0);
    ck_assert_str_eq(events(), "CHMOD f");
    move("f", "g");
    ck_assert_str_eq(events(), "RENAME f, CREATE g");
    ck_assert_int_eq(unlink(scratch("g")), 0);
    ck_assert_str_eq(events(), "REMOVE g");
    make_dir("d");
    ck_assert_str_eq(events(), "CREATE d");
    scratch_write("d/f", "x", 1); /* not recursive */
    ck_assert_str_eq(events(), "");
    ck_assert_int_eq(chmod(scratch_dir, 0711), 0);
    ck_assert_str_eq(events(), "CHMOD .");
}
END_TEST

/* The kernel sends one flag at a time today; the order does not depend on that. */
START_TEST(watch_tree_tells_flags_in_order)
{
    struct inotify_event head = {.mask = IN_ALL_EVENTS, .len = 16};
    char buf[4096], raw[sizeof head + 16] = {0};
    watch(false);
    scratch_write("f", "", 0);
    ck_assert_int_gt(read(kernel.fd, buf, sizeof buf), 0);
    memcpy(&head.wd, buf, sizeof head.wd);
    memcpy(raw, &head, sizeof head);
    raw[sizeof head] = 'x';
    watch_table_feed(&table, adit_view_mem(raw, sizeof raw));
    ck_assert_str_eq(told(&tree), "CREATE x, RENAME x, CHMOD x, WRITE x, REMOVE x");
}
END_TEST

START_TEST(watch_tree_root_that_is_removed_or_moved_ends)
{
    make_dir("d");
    make_dir("d/sub");
    ck_assert_int_eq(open_at(&tree, scratch("d"), (struct watch_tree_conf){true, 0, 0}), 0);
    ck_assert_int_eq(rmdir(scratch("d/sub")), 0);
    ck_assert_int_eq(rmdir(scratch("d")), 0);
    ck_assert_str_eq(events(), "REMOVE sub, REMOVE .");
    ck_assert_ptr_null(tree.root);
    watch_tree_close(&tree);

    make_dir("e");
    make_dir("e/sub");
    ck_assert_int_eq(open_at(&tree, scratch("e"), (struct watch_tree_conf){true, 0, 0}), 0);
    move("e", "f");
    scratch_write("f/sub/x", "", 0);
    ck_assert_str_eq(events(), "RENAME .");
    ck_assert_uint_eq(tree.dir_cnt, 0);
}
END_TEST

START_TEST(watch_tree_recursive_watches_what_is_there_and_what_comes)
{
    make_dir("a");
    make_dir("a/b");
    watch(true);
    ck_assert_uint_eq(tree.dir_cnt, 3);
    scratch_write("a/b/f", "x", 1);
    ck_assert_str_eq(events(), "CREATE a/b/f, WRITE a/b/f");
    make_dir("c");
    ck_assert_str_eq(events(), "CREATE c");
    scratch_write("c/f", "", 0);
    ck_assert_str_eq(events(), "CREATE c/f");
    ck_assert_int_eq(unlink(scratch("c/f")), 0);
    ck_assert_int_eq(rmdir(scratch("c")), 0);
    ck_assert_str_eq(events(), "REMOVE c/f, REMOVE c");
    ck_assert_uint_eq(tree.dir_cnt, 3);
}
END_TEST

START_TEST(watch_tree_tells_what_a_fresh_tree_holds)
{
    watch(true);
    make_dir("a");
    make_dir("a/b");
    make_dir("a/b/c");
    scratch_write("a/b/f", "x", 1);
    ck_assert_int_eq(symlink("b", scratch("a/link")), 0);
    const char *seen = events();
    ck_assert(strncmp(seen, "CREATE a, ", 10) == 0);
    const char *b = strstr(seen, "CREATE a/b,"), *c = strstr(seen, "CREATE a/b/c"),
               *f = strstr(seen, "CREATE a/b/f");
    ck_assert(b && c && f && b < c && b < f);
    ck_assert_ptr_nonnull(strstr(seen, "CREATE a/link"));
    ck_assert_ptr_null(strstr(seen, "link/")); /* not followed */
    ck_assert_uint_eq(tree.dir_cnt, 4);
    scratch_write("a/b/c/g", "", 0);
    ck_assert_str_eq(events(), "CREATE a/b/c/g");
}
END_TEST

START_TEST(watch_tree_moved_in_directory_is_watched_at_once)
{
    make_dir("w");
    make_dir("out");
    make_dir("out/sub");
    scratch_write("out/sub/f", "x", 1);
    ck_assert_int_eq(open_at(&tree, scratch("w"), (struct watch_tree_conf){true, 0, 0}), 0);
    move("out", "w/in");
    ck_assert_str_eq(events(), "CREATE in, CREATE in/sub, CREATE in/sub/f");
    scratch_write("w/in/sub/f", "y", 1);
    ck_assert_str_eq(events(), "WRITE in/sub/f");
}
END_TEST

START_TEST(watch_tree_renamed_directory_is_watched_under_its_new_name)
{
    make_dir("a");
    make_dir("a/s");
    make_dir("b");
    watch(true);
    move("a", "b/n");
    scratch_write("b/n/s/f", "x", 1); /* before the rename is read */
    const char *seen = events();
    ck_assert(strncmp(seen, "RENAME a, CREATE b/n, CREATE b/n/s, CREATE b/n/s/f", 50) == 0);
    ck_assert_ptr_nonnull(strstr(seen, "WRITE b/n/s/f"));
    ck_assert_ptr_null(strstr(seen, " a/"));
    ck_assert_uint_eq(tree.dir_cnt, 4);
    make_dir("a"); /* the old name again */
    scratch_write("a/g", "", 0);
    seen = events();
    ck_assert(strncmp(seen, "CREATE a, CREATE a/g", 20) == 0);
}
END_TEST

START_TEST(watch_tree_moved_out_directory_is_left_alone)
{
    make_dir("w");
    make_dir("w/d");
    make_dir("w/d/s");
    ck_assert_int_eq(open_at(&tree, scratch("w"), (struct watch_tree_conf){true, 0, 0}), 0);
    move("w/d", "gone");
    ck_assert_str_eq(events(), "RENAME d");
    ck_assert_uint_eq(tree.dir_cnt, 1);
    ck_assert_uint_eq(table.by_wd.len, 1);
    scratch_write("gone/s/f", "x", 1);
    ck_assert_str_eq(events(), "");
}
END_TEST

START_TEST(watch_tree_directory_renamed_over_an_empty_one)
{
    make_dir("a");
    make_dir("b");
    watch(true);
    move("a", "b");
    scratch_write("b/f", "", 0);
    ck_assert_ptr_nonnull(strstr(events(), "CREATE b/f"));
    ck_assert_uint_eq(tree.dir_cnt, 2);
}
END_TEST

START_TEST(watch_tree_subdirectory_chmod_is_told_twice)
{
    make_dir("d");
    watch(true);
    ck_assert_int_eq(chmod(scratch("d"), 0700), 0);
    ck_assert_str_eq(events(), "CHMOD d, CHMOD d"); /* by both directories, as clients know it */
}
END_TEST

START_TEST(watch_tree_entries_are_with_what_exists)
{
    ck_assert_int_eq(open_at(&tree, scratch_dir, (struct watch_tree_conf){true, true, 0}), 0);
    scratch_write("f", "hello", 5);
    pump(SIZE_MAX);
    struct adit_list *it, *tmp;
    ADIT_LIST_EACH(it, tmp, &tree.events)
    {
        struct watch_event *e = ADIT_CONTAINER_OF(it, struct watch_event, node);
        ck_assert_ptr_nonnull(e->entry);
        ck_assert_str_eq(e->entry->pb.name, "f");
        ck_assert_str_eq(e->entry->pb.path, scratch("f"));
        ck_assert_int_eq(e->entry->pb.size, 5);
    }
    ck_assert_str_eq(told(&tree), "CREATE f, WRITE f");
    move("f", "g");
    ck_assert_int_eq(unlink(scratch("g")), 0);
    scratch_write("h", "", 0);
    ck_assert_int_eq(unlink(scratch("h")), 0);
    pump(SIZE_MAX);
    ADIT_LIST_EACH(it, tmp, &tree.events)
    ck_assert_ptr_null(ADIT_CONTAINER_OF(it, struct watch_event, node)->entry);
    ck_assert_str_eq(told(&tree), "RENAME f, CREATE g, REMOVE g, CREATE h, REMOVE h");
}
END_TEST

START_TEST(watch_tree_names_are_sent_as_utf_8)
{
    watch(true);
    make_dir("\xff");
    scratch_write("\xff/\xc3\xa4", "", 0);
    events();
    ck_assert_ptr_nonnull(strstr(text, "CREATE \xEF\xBF\xBD"));
    ck_assert_ptr_nonnull(strstr(text, "CREATE \xEF\xBF\xBD/\xc3\xa4"));
}
END_TEST

START_TEST(watch_tree_does_not_tell_names_of_uploads)
{
    watch(false);
    scratch_write(".envd-upload-0123456789abcdef", "x", 1);
    move(".envd-upload-0123456789abcdef", "f");
    ck_assert_str_eq(events(), "CREATE f");
    scratch_write(".envd-upload-mine", "", 0);
    ck_assert_str_eq(events(), "CREATE .envd-upload-mine");
    int fd = open(scratch_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "x", 1), 1);
    ck_assert_int_eq(fchmod(fd, 0644), 0);
    ck_assert_str_eq(events(), "");
    (void)close(fd);
    scratch_write("#12", "x", 1); /* a file of that name is one */
    ck_assert_str_eq(events(), "CREATE #12, WRITE #12");
}
END_TEST

START_TEST(watch_tree_two_trees_share_a_directory)
{
    struct watch_tree other = {0};
    make_dir("a");
    watch(true);
    ck_assert_int_eq(open_at(&other, scratch("a"), (struct watch_tree_conf){false, 0, 0}), 0);
    ck_assert_uint_eq(table.by_wd.len, 2);
    scratch_write("a/f", "", 0);
    ck_assert_str_eq(events(), "CREATE a/f");
    ck_assert_str_eq(told(&other), "CREATE f");
    watch_tree_close(&other);
    scratch_write("a/g", "", 0);
    ck_assert_str_eq(events(), "CREATE a/g");
    ck_assert_int_eq(open_at(&other, scratch("a"), (struct watch_tree_conf){true, 0, 0}), 0);
    move("a", "b");
    ck_assert(strncmp(events(), "RENAME a, CREATE b", 18) == 0);
    ck_assert_str_eq(told(&other), "RENAME .");
    watch_tree_close(&other);
}
END_TEST

START_TEST(watch_tree_mounted_into_itself_ends)
{
    make_dir("a");
    make_dir("a/b");
    ck_assert_int_eq(mount(scratch("a"), scratch("a/b"), NULL, MS_BIND, NULL), 0);
    watch(true);
    ck_assert_uint_eq(tree.dir_cnt, 2);
    scratch_write("a/f", "", 0);
    ck_assert_str_eq(events(), "CREATE a/f");
    ck_assert_int_eq(umount2(scratch("a/b"), MNT_DETACH), 0);
}
END_TEST

START_TEST(watch_tree_does_not_go_into_kernel_file_systems)
{
    make_dir("proc");
    ck_assert_int_eq(mount("proc", scratch("proc"), "proc", 0, NULL), 0);
    watch(true);
    ck_assert_uint_eq(tree.dir_cnt, 2);
    ck_assert_int_eq(umount2(scratch("proc"), MNT_DETACH), 0);
}
END_TEST

/* A network mount needs a server; the judgement is on the type that statfs() gives. */
START_TEST(watch_os_knows_network_file_systems)
{
    static const unsigned long network[] = {0x6969, 0xFF534D42, 0x517B, 0xFE534D42, 0x65735546};
    static const unsigned long local[] = {EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
                                          PROC_SUPER_MAGIC, 0};
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++)
        ck_assert(watch_os_is_network(network[i]));
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        ck_assert(!watch_os_is_network(local[i]));
}
END_TEST

START_TEST(watch_os_check_has_the_words_of_the_contract)
{
    char want[PATH_MAX];
    ck_assert_int_eq(watch_os_check(scratch_dir, false, &err), 0);
    ck_assert_int_eq(watch_os_check(scratch("no"), false, &err), ADIT_ERR_NOT_FOUND);
    (void)snprintf(want, sizeof want, "path %s not found: stat %s: no such file or directory",
                   scratch("no"), scratch("no"));
    ck_assert_str_eq(err.msg, want);
    scratch_write("f", "", 0);
    ck_assert_int_eq(watch_os_check(scratch("f"), false, &err), ADIT_ERR_BAD_INPUT);
    (void)snprintf(want, sizeof want, "path %s not a directory:", scratch("f"));
    ck_assert(strncmp(err.msg, want, strlen(want)) == 0);
}
END_TEST

START_TEST(watch_tree_overflow_of_the_kernel_ends_every_tree)
{
    const struct inotify_event overflow = {.wd = -1, .mask = IN_Q_OVERFLOW};
    watch(true);
    scratch_write("f", "", 0);
    pump(SIZE_MAX);
    watch_table_feed(&table, adit_view_mem(&overflow, sizeof overflow));
    ck_assert_int_ne(tree.err.code, 0);
    ck_assert_ptr_nonnull(strstr(tree.err.msg, "fs.inotify.max_queued_events"));
    ck_assert(adit_list_empty(&tree.events));
    ck_assert_uint_eq(table.by_wd.len, 0);
    scratch_write("g", "", 0);
    ck_assert_str_eq(events(), "");
}
END_TEST

START_TEST(watch_tree_events_beyond_the_room_end_it)
{
    watch(false);
    tree.room = 1000;
    for (int i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%d", i);
        scratch_write(name, "", 0);
    }
    ck_assert_str_eq(events(), "");
    ck_assert_int_eq(tree.err.code, ADIT_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(tree.err.msg, "events were not fetched in time"));
    ck_assert_uint_eq(tree.dir_cnt, 0);
}
END_TEST

/* ---- a kernel that is made up ---- */

static int fake_wds, fake_wds_max;

static int fake_add(struct watch_os *os, const char *path, bool is_root)
{
    (void)os;
    (void)path;
    (void)is_root;
    return fake_wds < fake_wds_max ? ++fake_wds : -ENOSPC;
}

static void fake_remove(struct watch_os *os, int wd)
{
    (void)os;
    (void)wd;
    fake_wds_max--; /* counts */
}

/* A hundred thousand directories in the root. */
static int fake_list(struct watch_os *os, const char *path, enum watch_place place,
                     watch_tree_name_fn on_name, void *arg)
{
    char name[16];
    (void)os;
    (void)path;
    for (int i = 0; place == WATCH_ROOT && i < 100000; i++) {
        (void)snprintf(name, sizeof name, "d%d", i);
        if (!on_name(arg, name, true))
            break;
    }
    return 0;
}

START_TEST(watch_tree_too_many_directories_are_refused)
{
    struct watch_os fake = {fake_add, fake_remove, fake_list, NULL};
    table.os = &fake;
    fake_wds_max = 1000;
    fake_wds = 0;
    ck_assert_int_eq(open_at(&tree, "/x", (struct watch_tree_conf){true, 0, 0}), ADIT_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.msg, "fs.inotify.max_user_watches"));
    ck_assert_int_eq(fake_wds_max, 0); /* each was given back */
    fake_wds_max = 200000;
    fake_wds = 0;
    ck_assert_int_eq(open_at(&tree, "/x", (struct watch_tree_conf){true, 0, 0}), ADIT_ERR_LIMIT);
    ck_assert_str_eq(err.msg, "more than 65536 directories to watch");
    ck_assert_int_eq(fake_wds_max, 200000 - fake_wds);
}
END_TEST

/* Whatever allocation fails, the tree works or has ended with an error, and nothing leaks. */
START_TEST(watch_tree_survives_each_allocation_that_fails)
{
    bool was_whole = false;
    if (!FAILING_MALLOC) {
        suite_skip("watch_tree_survives_each_allocation_that_fails", FAILING_MALLOC_NEEDS);
        return;
    }
    make_dir("a");
    make_dir("a/b");
    for (long nth = 1; !was_whole; nth++) {
        failing_malloc.countdown = nth;
        int rc = open_at(&tree, scratch_dir, (struct watch_tree_conf){true, true, 0});
        failing_malloc.is_off = true; /* Check allocates too */
        if (!rc) {
            make_dir("c");
            make_dir("c/d");
            scratch_write("c/d/f", "x", 1);
            move("a/b", "c/b");
            move("c", "e");
            failing_malloc.is_off = false;
            pump(SIZE_MAX);
            failing_malloc.is_off = true;
        }
        was_whole = failing_malloc.countdown > 0;
        failing_malloc.countdown = 0;
        failing_malloc.is_off = false;
        if (rc)
            ck_assert_int_ne(err.code, 0);
        else if (tree.err.code)
            ck_assert_uint_eq(tree.dir_cnt, 0);
        else
            ck_assert_uint_eq(tree.dir_cnt, 5);
        watch_tree_close(&tree);
        ck_assert_uint_eq(table.by_wd.len, 0);
        ck_assert_uint_eq(table.by_name.len, 0);
        if (!rc) {
            move("e/b", "a/b");
            (void)unlink(scratch("e/d/f"));
            (void)rmdir(scratch("e/d"));
            (void)rmdir(scratch("e"));
        }
        ck_assert_int_lt(nth, 10000);
    }
}
END_TEST

/* ---- rename storms ---- */

/*
 * What a client can make of events: the set of paths. CREATE adds, RENAME and REMOVE take the path
 * and all below it away.
 */
#define PATHS_MAX 20000
static char *paths[PATHS_MAX];
static size_t path_cnt;

static void forget(const char *path)
{
    size_t len = strlen(path), kept = 0;
    for (size_t i = 0; i < path_cnt; i++) {
        bool is_gone =
            strncmp(paths[i], path, len) == 0 && (paths[i][len] == '\0' || paths[i][len] == '/');
        if (is_gone)
            free(paths[i]);
        else
            paths[kept++] = paths[i];
    }
    path_cnt = kept;
}

static void apply_events(void)
{
    struct adit_list *it;
    ck_assert_int_eq(tree.err.code, 0);
    while ((it = adit_list_first(&tree.events))) {
        struct watch_event *e = ADIT_CONTAINER_OF(it, struct watch_event, node);
        if (e->type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CREATE ||
            e->type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_RENAME ||
            e->type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_REMOVE)
            forget(e->name);
        if (e->type == FILESYSTEM__EVENT_TYPE__EVENT_TYPE_CREATE) {
            ck_assert_uint_lt(path_cnt, PATHS_MAX);
            paths[path_cnt++] = strdup(e->name);
        }
        watch_event_free(e);
    }
}

/* Compare what the events say with what is there. */
static void check_paths(const char *dir, size_t *seen)
{
    char path[PATH_MAX];
    const struct dirent *entry;
    DIR *d = opendir(scratch(dir));
    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", entry->d_name);
        size_t i = 0;
        while (i < path_cnt && strcmp(paths[i], path) != 0)
            i++;
        ck_assert_msg(i < path_cnt, "%s is not known", path);
        (*seen)++;
        if (entry->d_type == DT_DIR)
            check_paths(path, seen); /* few levels */
    }
    (void)closedir(d);
}

static void check_all_paths(void)
{
    size_t seen = 0;
    check_paths("", &seen);
    ck_assert_uint_eq(seen, path_cnt);
}

static unsigned storm_state;

static unsigned storm_random(unsigned below)
{
    storm_state = storm_state * 1103515245 + 12345;
    return (storm_state >> 8) % below;
}

/* Directories a to h of the root and below one another, renamed at random; files in them. */
static void storm_step(void)
{
    char from[64], to[64];
    static const char names[] = "abcdefgh";
    int depth = (int)storm_random(3), len = 0;
    for (int i = 0; i <= depth; i++)
        len += snprintf(from + len, sizeof from - (size_t)len, "%s%c", i ? "/" : "",
                        names[storm_random(8)]);
    depth = (int)storm_random(3);
    len = 0;
    for (int i = 0; i <= depth; i++)
        len += snprintf(to + len, sizeof to - (size_t)len, "%s%c", i ? "/" : "",
                        names[storm_random(8)]);
    switch (storm_random(8)) {
    case 0:
        (void)mkdir(scratch(to), 0755);
        break;
    case 1:
        (void)rmdir(scratch(to));
        break;
    case 2: {
        (void)snprintf(to + len, sizeof to - (size_t)len, "/f%u", storm_random(4));
        int fd = open(scratch(to), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0)
            (void)close(fd);
        break;
    }
    case 3:
        (void)snprintf(to + len, sizeof to - (size_t)len, "/f%u", storm_random(4));
        (void)unlink(scratch(to));
        break;
    default:
        (void)rename(scratch(from), scratch(to));
    }
}

/* Read after every step, after some, after many: paths are looked up late, then. */
START_TEST(watch_tree_rename_storm_can_be_followed)
{
    static const int pauses[] = {1, 2, 7, 50, 400};
    storm_state = (unsigned)_i + 1;
    watch(true);
    for (int i = 0; i < 4000; i++) {
        storm_step();
        if (i % pauses[_i % 5] == 0)
            pump(_i % 2 ? 300 : SIZE_MAX);
        if (i % 400 == 399) {
            pump(SIZE_MAX);
            apply_events();
            check_all_paths();
        }
    }
    while (path_cnt)
        free(paths[--path_cnt]);
}
END_TEST

static void *storm(void *arg)
{
    for (int i = 0; i < 20000; i++)
        storm_step();
    __atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
    return NULL;
}

/* The same while another thread goes on: every look races. */
START_TEST(watch_tree_rename_storm_beside_the_reader_can_be_followed)
{
    pthread_t thread;
    bool is_over = false;
    storm_state = 99 + (unsigned)_i;
    watch(true);
    ck_assert_int_eq(pthread_create(&thread, NULL, storm, &is_over), 0);
    while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
        pump(SIZE_MAX);
    (void)pthread_join(thread, NULL);
    pump(SIZE_MAX);
    if (tree.err.code) { /* an overflow is told */
        ck_assert_ptr_nonnull(strstr(tree.err.msg, "max_queued_events"));
        return;
    }
    apply_events();
    check_all_paths();
    while (path_cnt)
        free(paths[--path_cnt]);
}
END_TEST

/* Ten thousand numbered renames, each with both of its events, in order. */
START_TEST(watch_tree_numbered_renames_are_complete)
{
    make_dir("d");
    scratch_write("d/f0", "", 0);
    watch(true);
    for (int i = 0; i < 10000; i++) {
        char from[16], to[16];
        (void)snprintf(from, sizeof from, "d/f%d", i);
        (void)snprintf(to, sizeof to, "d/f%d", i + 1);
        move(from, to);
        if (i % 5000 == 4999)
            pump(SIZE_MAX);
    }
    const char *p = told(&tree);
    for (int i = 0; i < 10000; i++) {
        char want[64];
        int len =
            snprintf(want, sizeof want, "%sRENAME d/f%d, CREATE d/f%d", i ? ", " : "", i, i + 1);
        ck_assert_int_eq(strncmp(p, want, (size_t)len), 0);
        p += len;
    }
    ck_assert_str_eq(p, "");
}
END_TEST

SUITE_MAIN_WITH(
    "watch_tree", .fixtures = {{scratch_setup, scratch_teardown}, {start, stop}},
    TESTS(watch_tree_maps_each_raw_event, watch_tree_tells_flags_in_order,
          watch_tree_root_that_is_removed_or_moved_ends,
          watch_tree_recursive_watches_what_is_there_and_what_comes,
          watch_tree_tells_what_a_fresh_tree_holds,
          watch_tree_moved_in_directory_is_watched_at_once,
          watch_tree_renamed_directory_is_watched_under_its_new_name,
          watch_tree_moved_out_directory_is_left_alone,
          watch_tree_directory_renamed_over_an_empty_one,
          watch_tree_subdirectory_chmod_is_told_twice, watch_tree_entries_are_with_what_exists,
          watch_tree_names_are_sent_as_utf_8, watch_tree_does_not_tell_names_of_uploads,
          watch_tree_two_trees_share_a_directory, watch_tree_mounted_into_itself_ends,
          watch_tree_does_not_go_into_kernel_file_systems, watch_os_knows_network_file_systems,
          watch_os_check_has_the_words_of_the_contract,
          watch_tree_overflow_of_the_kernel_ends_every_tree,
          watch_tree_events_beyond_the_room_end_it, watch_tree_too_many_directories_are_refused,
          watch_tree_survives_each_allocation_that_fails, watch_tree_numbered_renames_are_complete),
    LOOPS({watch_tree_rename_storm_can_be_followed, 5},
          {watch_tree_rename_storm_beside_the_reader_can_be_followed, 2}))
