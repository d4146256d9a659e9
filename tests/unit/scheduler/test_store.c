/* SPDX-License-Identifier: Apache-2.0 */
/* The store: what is written is there again, also after kill -9; foreign files stay untouched. */
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/file.h"
#include "base/rand.h"
#include "scheduler/store/group_commit.h"
#include "scheduler/store/sqlite.h"

#define KEPT_MAX 20000

static char dir[64], path[96];

/* A copy as the scheduler has one: record n of table t has the length of its value, or -1. */
struct copy {
    int lengths[8][KEPT_MAX];
    size_t applied, broken, done, failed;
    int refuse_all;
};

static struct copy copy;

static void set_up(void)
{
    snprintf(dir, sizeof(dir), "/tmp/adit-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s.db", dir);
    memset(&copy, 0, sizeof(copy));
    memset(copy.lengths, 0xff, sizeof(copy.lengths));
}

static void tear_down(void)
{
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, dir + 5, NULL), 0);
    close(tmp);
}

static int apply(void *owner, const struct store_change *c, struct adit_err *err)
{
    struct copy *to = owner;
    uint64_t n = 0;
    if (to->refuse_all)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    ck_assert_int_eq(adit_view_u64(c->id, KEPT_MAX - 1, &n), 0);
    to->lengths[c->table][n] = c->value.ptr ? (int)c->value.len : -1;
    to->applied++;
    return 0;
}

static void on_broken(void *owner, const struct adit_err *err)
{
    ((struct copy *)owner)->broken++;
    ck_assert_int_eq(err->code, ADIT_ERR_NO_MEMORY);
}

static void on_done(void *user, const struct adit_err *err)
{
    struct copy *to = user;
    to->done++;
    to->failed += err != NULL;
}

static const struct store_owner owner = {&copy, apply, on_broken};

static struct store_change change(char id[16], enum store_table table, int n, const char *value)
{
    snprintf(id, 16, "%d", n);
    return (struct store_change){table, adit_view_str(id), adit_view_str(value)};
}

static int write_one(struct store *s, enum store_table table, int n, const char *value)
{
    char id[16];
    struct store_change c = change(id, table, n, value);
    return store_write(s, &c, 1, on_done, &copy, NULL);
}

static void run_until_done(uv_loop_t *uv, size_t cnt)
{
    while (copy.done < cnt)
        uv_run(uv, UV_RUN_ONCE);
}

static void close_all(uv_loop_t *uv, struct store *s)
{
    store_close(s);
    uv_run(uv, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(uv), 0);
}

START_TEST(store_gives_back_what_was_committed)
{
    uv_loop_t uv;
    struct store *s = NULL;
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    ck_assert_int_eq(write_one(s, STORE_NODE, 1, "node"), 0);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 1, "sandbox"), 0);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 2, ""), 0);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 3, "gone soon"), 0);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 3, NULL), 0);
    ck_assert_int_eq(write_one(s, STORE_NODE, 1, "changed"), 0);
    ck_assert_int_eq(write_one(s, STORE_NODE, 7, NULL), 0);
    ck_assert_uint_eq(copy.applied, 0); /* nothing before it is committed */
    run_until_done(&uv, 7);
    ck_assert_uint_eq(copy.applied, 7);
    close_all(&uv, s);

    memset(copy.lengths, 0xff, sizeof(copy.lengths));
    copy.applied = 0;
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    ck_assert_uint_eq(copy.applied, 3);
    ck_assert_int_eq(copy.lengths[STORE_NODE][1], 7);
    ck_assert_int_eq(copy.lengths[STORE_SANDBOX][1], 7);
    ck_assert_int_eq(copy.lengths[STORE_SANDBOX][2], 0);
    ck_assert_int_eq(copy.lengths[STORE_SANDBOX][3], -1);
    close_all(&uv, s);
}
END_TEST

START_TEST(store_answers_all_writes_before_it_closes)
{
    uv_loop_t uv;
    struct store *s = NULL;
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(write_one(s, STORE_SANDBOX, i, "x"), 0);
    store_close(s);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 1, "late"), ADIT_ERR_UNAVAILABLE);
    uv_run(&uv, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&uv), 0);
    ck_assert_uint_eq(copy.done, 1000);
    ck_assert_uint_eq(copy.applied, 1000);
    ck_assert_uint_eq(copy.failed, 0);
}
END_TEST

START_TEST(store_makes_all_changes_of_a_write_or_none)
{
    uv_loop_t uv;
    struct store *s = NULL;
    char a[16], b[STORE_ID_MAX + 2];
    struct store_change changes[2] = {change(a, STORE_NODE, 1, "x")};
    memset(b, '1', sizeof(b));
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    changes[1] =
        (struct store_change){STORE_NODE, adit_view_mem(b, STORE_ID_MAX + 1), adit_view_str("x")};
    ck_assert_int_eq(store_write(s, changes, 2, on_done, &copy, NULL), ADIT_ERR_BAD_INPUT);
    close_all(&uv, s);
    ck_assert_uint_eq(copy.done, 0);
    ck_assert_uint_eq(copy.applied, 0);
}
END_TEST

START_TEST(store_refuses_more_writes_than_its_maximum)
{
    uv_loop_t uv;
    struct store *s = NULL;
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    for (int i = 0; i < STORE_WRITES_MAX; i++)
        ck_assert_int_eq(write_one(s, STORE_SANDBOX, i, "x"), 0);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 1, "x"), ADIT_ERR_LIMIT);
    run_until_done(&uv, STORE_WRITES_MAX);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 1, "x"), 0);
    close_all(&uv, s);
    ck_assert_uint_eq(copy.done, STORE_WRITES_MAX + 1);
}
END_TEST

START_TEST(store_tells_when_the_copy_cannot_follow)
{
    uv_loop_t uv;
    struct store *s = NULL;
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    copy.refuse_all = 1;
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 1, "x"), 0);
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 2, "x"), 0);
    run_until_done(&uv, 2);
    ck_assert_uint_eq(copy.broken, 1);
    close_all(&uv, s);
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), ADIT_ERR_NO_MEMORY);
    ck_assert_int_eq(uv_loop_close(&uv), 0);
}
END_TEST

/* The failing disk is a file size limit: the log can grow no more. */
START_TEST(store_fails_writes_and_recovers_when_the_disk_is_full)
{
    uv_loop_t uv;
    struct store *s = NULL;
    struct rlimit old, small = {64 * 1024, RLIM_INFINITY};
    static char large[40000];
    memset(large, 'x', sizeof(large) - 1);
    ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    uv_loop_init(&uv);
    ck_assert_int_eq(group_commit_open(&uv, path, &owner, &s, NULL), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(write_one(s, STORE_SANDBOX, i, large), 0);
        run_until_done(&uv, (size_t)i + 1);
    }
    ck_assert_uint_gt(copy.failed, 0);
    ck_assert_uint_eq(copy.applied + copy.failed, 4);
    ck_assert_int_eq(copy.lengths[STORE_SANDBOX][3], -1);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    size_t failed = copy.failed;
    ck_assert_int_eq(write_one(s, STORE_SANDBOX, 3, large), 0);
    run_until_done(&uv, 5);
    ck_assert_uint_eq(copy.failed, failed);
    ck_assert_int_eq(copy.lengths[STORE_SANDBOX][3], (int)sizeof(large) - 1);
    close_all(&uv, s);
}
END_TEST

static int try_open(void)
{
    struct sqlite_db *db = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = sqlite_open(path, &db, &err);
    if (rc == 0)
        sqlite_close(db);
    return rc;
}

static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

START_TEST(sqlite_refuses_a_file_that_is_no_database)
{
    struct adit_buf content;
    char text[4096];
    memset(text, 'a', sizeof(text));
    ck_assert_int_eq(
        adit_file_replace(AT_FDCWD, path, adit_view_mem(text, sizeof(text)), 0600, NULL), 0);
    ck_assert_int_eq(try_open(), ADIT_ERR_BAD_INPUT);
    adit_buf_init(&content, 8192);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &content, NULL), 0);
    ck_assert(adit_view_eq(adit_buf_view(&content), adit_view_mem(text, sizeof(text))));
    adit_buf_fini(&content);
}
END_TEST

START_TEST(sqlite_refuses_a_database_of_another_program)
{
    run_sql("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)");
    ck_assert_int_eq(try_open(), ADIT_ERR_BAD_INPUT);
    run_sql("UPDATE theirs SET x = 2"); /* it is as it was */
    run_sql("PRAGMA application_id = 77");
    ck_assert_int_eq(try_open(), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(sqlite_refuses_a_newer_version)
{
    ck_assert_int_eq(try_open(), 0);
    ck_assert_int_eq(try_open(), 0);
    run_sql("PRAGMA user_version = 2");
    ck_assert_int_eq(try_open(), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(sqlite_refuses_a_second_scheduler)
{
    struct sqlite_db *db = NULL;
    ck_assert_int_eq(sqlite_open(path, &db, NULL), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(try_open() == ADIT_ERR_UNAVAILABLE ? 0 : 1);
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    sqlite_close(db);
    ck_assert_int_eq(try_open(), 0);
}
END_TEST

START_TEST(sqlite_refuses_a_path_it_cannot_make)
{
    snprintf(path, sizeof(path), "%s/missing/s.db", dir);
    ck_assert_int_eq(try_open(), ADIT_ERR_IO);
}
END_TEST

/* ---- kill -9 ---- */

#define IN_FLIGHT 40

struct writer {
    struct store *store;
    int ack_fd, next;
};

/* Every acknowledged record is told to the parent, and the next one is written. */
struct ack {
    struct writer *writer;
    int n;
};

static void write_next(struct writer *w);

static void on_acked(void *user, const struct adit_err *err)
{
    struct ack *a = user;
    if (err || write(a->writer->ack_fd, &a->n, sizeof(a->n)) != sizeof(a->n))
        _exit(3);
    write_next(a->writer);
    free(a);
}

static void write_next(struct writer *w)
{
    char id[16];
    struct ack *a = malloc(sizeof(*a));
    struct store_change c = change(id, STORE_SANDBOX, w->next, "a record of some length");
    if (!a || w->next >= KEPT_MAX)
        _exit(4);
    *a = (struct ack){w, w->next++};
    if (store_write(w->store, &c, 1, on_acked, a, NULL))
        _exit(5);
}

static void write_until_killed(int ack_fd, int first)
{
    uv_loop_t uv;
    struct writer w = {NULL, ack_fd, first};
    if (uv_loop_init(&uv) || group_commit_open(&uv, path, &owner, &w.store, NULL))
        _exit(2);
    for (int i = 0; i < IN_FLIGHT; i++)
        write_next(&w);
    uv_run(&uv, UV_RUN_DEFAULT);
    _exit(6);
}

static void check_integrity(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    ck_assert_str_eq((const char *)sqlite3_column_text(stmt, 0), "ok");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

START_TEST(store_loses_nothing_acknowledged_when_killed)
{
    static bool acked[KEPT_MAX];
    int highest = -1, total = 0;
    uint64_t seed = adit_rand_u64();
    printf("store kill seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 12; round++) {
        int fds[2], n;
        ck_assert_int_eq(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed(fds[1], highest + 1);
        close(fds[1]);
        /* Killed behind a random acknowledgement: at no particular point of the next commit. */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int acks = 1 + (int)(seed >> 33) % 300;
        for (; acks > 0 && read(fds[0], &n, sizeof(n)) == (ssize_t)sizeof(n); acks--)
            acked[n] = true;
        ck_assert_int_eq(acks, 0);
        kill(pid, SIGKILL);
        while (read(fds[0], &n, sizeof(n)) == (ssize_t)sizeof(n))
            acked[n] = true;
        close(fds[0]);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        for (n = 0; n < KEPT_MAX; n++)
            highest = acked[n] && n > highest ? n : highest;
        highest += IN_FLIGHT; /* what was on its way may be there or not */

        struct sqlite_db *db = NULL;
        memset(copy.lengths, 0xff, sizeof(copy.lengths));
        ck_assert_int_eq(sqlite_open(path, &db, NULL), 0);
        ck_assert_int_eq(sqlite_load(db, apply, &copy, NULL), 0);
        sqlite_close(db);
        for (n = total = 0; n < KEPT_MAX; n++) {
            ck_assert_msg(!acked[n] || copy.lengths[STORE_SANDBOX][n] >= 0, "lost %d", n);
            total += acked[n];
        }
        check_integrity();
    }
    ck_assert_int_gt(total, 100);
}
END_TEST

SUITE_MAIN_WITH(
    "store", .fixtures = {{set_up, tear_down}},
    TESTS(store_gives_back_what_was_committed, store_answers_all_writes_before_it_closes,
          store_makes_all_changes_of_a_write_or_none, store_refuses_more_writes_than_its_maximum,
          store_tells_when_the_copy_cannot_follow,
          store_fails_writes_and_recovers_when_the_disk_is_full,
          sqlite_refuses_a_file_that_is_no_database, sqlite_refuses_a_database_of_another_program,
          sqlite_refuses_a_newer_version, sqlite_refuses_a_second_scheduler,
          sqlite_refuses_a_path_it_cannot_make, store_loses_nothing_acknowledged_when_killed))
