/* SPDX-License-Identifier: Apache-2.0 */
/* Records on disk: joined saves, and a removal that comes while one is under way. */
#include "broker/node/record_file.h"

#include "tests/unit/suite.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct disk {
    uv_loop_t uv;
    char dir[64];
    int sandboxes_fd;
    struct record_file file;
    unsigned told;
};

static void open_disk(struct disk *d)
{
    char path[96];
    memset(d, 0, sizeof(*d));
    strcpy(d->dir, "/tmp/adit-record-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(d->dir));
    (void)snprintf(path, sizeof(path), "%s/sandboxes", d->dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    d->sandboxes_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(d->sandboxes_fd, 0);
    ck_assert_int_eq(uv_loop_init(&d->uv), 0);
    record_file_init(&d->file, &d->uv, d->sandboxes_fd, "ia");
}

static void close_disk(struct disk *d)
{
    record_file_fini(&d->file);
    ck_assert_int_eq(uv_loop_close(&d->uv), 0);
    close(d->sandboxes_fd);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, d->dir + strlen("/tmp/"), NULL), 0);
    close(tmp);
}

static void on_told(void *user, const struct adit_err *err)
{
    struct disk *d = user;
    ck_assert_ptr_null(err);
    d->told++;
}

static void save(struct disk *d, const char *text)
{
    ck_assert_int_eq(record_file_save(&d->file, adit_view_str(text), false, on_told, d), 0);
}

/* What the file at @path, below the folder of all sandboxes, holds. */
static void assert_holds(const struct disk *d, const char *path, const char *text)
{
    struct adit_buf b;
    adit_buf_init(&b, 4096);
    ck_assert_int_eq(adit_file_read(d->sandboxes_fd, path, &b, NULL), 0);
    ck_assert(adit_view_eq_str(adit_buf_view(&b), text));
    adit_buf_fini(&b);
}

START_TEST(record_file_joins_the_saves_that_come_during_one)
{
    struct disk d;
    open_disk(&d);
    save(&d, "first");
    save(&d, "second");
    save(&d, "third");
    ck_assert_uint_eq(d.told, 0);
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    ck_assert_uint_eq(d.told, 3);
    assert_holds(&d, "ia/" RECORD_FILE_NAME, "third");
    close_disk(&d);
}
END_TEST

START_TEST(record_file_removes_after_the_save_that_runs)
{
    struct disk d;
    open_disk(&d);
    save(&d, "first");
    ck_assert_int_eq(record_file_remove(&d.file, adit_view_str("over\n"), on_told, &d), 0);
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    ck_assert_uint_eq(d.told, 2);
    ck_assert_int_ne(faccessat(d.sandboxes_fd, "ia", F_OK, 0), 0);
    assert_holds(&d, "../" RECORD_FILE_ENDED, "over\n");
    close_disk(&d);
}
END_TEST

START_TEST(record_file_bounds_who_waits)
{
    struct disk d;
    open_disk(&d);
    for (unsigned i = 0; i < RECORD_FILE_WAITERS_MAX; i++)
        save(&d, "text");
    ck_assert_int_eq(record_file_save(&d.file, adit_view_str("text"), false, on_told, &d),
                     ADIT_ERR_LIMIT);
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    ck_assert_uint_eq(d.told, RECORD_FILE_WAITERS_MAX);
    close_disk(&d);
}
END_TEST

static void prepare(struct disk *d)
{
    ck_assert_int_eq(record_file_prepare(&d->file, adit_view_str("waits"), on_told, d), 0);
    ck_assert_int_eq(uv_run(&d->uv, UV_RUN_DEFAULT), 0);
    ck_assert_uint_eq(d->told, 1);
}

/* The claim's file holds @text and then blanks. */
static void assert_claims(const struct disk *d, const char *text)
{
    struct adit_buf b;
    adit_buf_init(&b, RECORD_FILE_CLAIM_CAP);
    ck_assert_int_eq(adit_file_read(d->sandboxes_fd, "ia/" RECORD_FILE_CLAIM_NAME, &b, NULL), 0);
    ck_assert_uint_eq(b.len, RECORD_FILE_CLAIM_CAP);
    ck_assert(adit_view_eq_str(adit_view_trim(adit_buf_view(&b)), text));
    adit_buf_fini(&b);
}

START_TEST(record_file_writes_claims_where_they_lie)
{
    struct disk d;
    struct stat before, after;
    open_disk(&d);
    prepare(&d);
    assert_holds(&d, "ia/" RECORD_FILE_NAME, "waits");
    assert_claims(&d, "");
    ck_assert_int_eq(fstatat(d.sandboxes_fd, "ia/" RECORD_FILE_CLAIM_NAME, &before, 0), 0);
    save(&d, "a long text");
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    save(&d, "short");
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    assert_claims(&d, "short");
    ck_assert_int_eq(fstatat(d.sandboxes_fd, "ia/" RECORD_FILE_CLAIM_NAME, &after, 0), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    assert_holds(&d, "ia/" RECORD_FILE_NAME, "waits");
    record_file_leave_claim(&d.file);
    save(&d, "later");
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    assert_holds(&d, "ia/" RECORD_FILE_NAME, "later");
    assert_claims(&d, "short");
    close_disk(&d);
}
END_TEST

START_TEST(record_file_replaces_the_record_by_a_claim_that_is_too_long)
{
    static char text[RECORD_FILE_CLAIM_CAP + 2];
    struct disk d;
    memset(text, 'x', RECORD_FILE_CLAIM_CAP);
    open_disk(&d);
    prepare(&d);
    save(&d, text); /* just fits */
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    assert_claims(&d, text);
    text[RECORD_FILE_CLAIM_CAP] = 'x';
    save(&d, text);
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    struct stat st;
    ck_assert_int_eq(fstatat(d.sandboxes_fd, "ia/" RECORD_FILE_NAME, &st, 0), 0);
    ck_assert_int_eq(st.st_size, RECORD_FILE_CLAIM_CAP + 1);
    save(&d, "short again"); /* the record counts now */
    ck_assert_int_eq(uv_run(&d.uv, UV_RUN_DEFAULT), 0);
    assert_holds(&d, "ia/" RECORD_FILE_NAME, "short again");
    close_disk(&d);
}
END_TEST

SUITE_MAIN("record_file", record_file_writes_claims_where_they_lie,
           record_file_replaces_the_record_by_a_claim_that_is_too_long,
           record_file_joins_the_saves_that_come_during_one,
           record_file_removes_after_the_save_that_runs, record_file_bounds_who_waits)
